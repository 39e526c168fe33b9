# nuScenes: grid, classes and how a key frame is read.
labels = "nuscenes"
grid = dict(
    origin_m=(-40.0, -40.0, -1.0),  # lower corner in the vehicle's frame: Occ3D's grid
    voxel_m=0.4,
    shape=(200, 200, 16),
)
modality = "both"  # both | camera | lidar: what the network sees, and so what is read
data_root = "data/nuscenes"
dataset = dict(
    type="NuScenes",
    version="auto",  # v1.0-trainval if it is there, else v1.0-test, else v1.0-mini
    frame="ego",  # ego | lidar: the grid's frame; lidar has x to the right
    image_size=(256, 704),  # rows, columns after crop and resize
    image_crop=(0.3535, 0.0, 1.0, 1.0),  # top, left, bottom, right kept: no sky, square pixels
    num_sweeps=10,  # LiDAR clouds accumulated, the key frame's own included: half a second
    labels_source="occ3d",  # occ3d | surroundocc | openoccupancy: what the network learns
    labels_root=None,  # folder of the labels; None: its usual name beside data_root
    use_mask=True,  # learn only from voxels that a camera saw; of occ3d only
)
augmentation = dict(
    image_scale=(0.95, 1.05),  # zoom about the centre
    brightness=0.2,  # ± share
    contrast=0.2,  # ± share
    volume_flip_prob=0.5,  # mirror left and right
    volume_rotation_deg=5.0,  # ± about the vertical
)
