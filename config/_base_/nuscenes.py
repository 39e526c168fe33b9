# nuScenes: grid, classes and how a key frame is read. Names with "_" are for other config files.
_base_ = "augmentation.py"
labels = "nuscenes"
grid = dict(
    origin_m=(-40.0, -40.0, -1.0),  # lower corner in the vehicle's frame: Occ3D's grid
    voxel_m=0.4,
    shape=(200, 200, 16),
)
_class_balance = dict(  # Occ3D's voxels that a camera saw in the 28,130 training frames; free first
    # 1 / log(1.2 + share), relative to driveable_surface; free is 1.
    class_weights=(
        *(1.0, 2.26, 2.29, 2.25, 2.02, 2.28, 2.29, 2.26, 2.29),
        *(2.25, 2.19, 1.0, 2.22, 1.63, 1.54, 1.26, 1.21, 2.28),
    ),
    class_counts=(  # of 19,500 a frame
        *(0, 67, 5, 85, 603, 26, 7, 74, 15),
        *(85, 210, 6253, 152, 1827, 2183, 3767, 4139, 34),
    ),
)
modality = "both"  # both | camera | lidar: what the network sees, and so what is read
sensors = None  # what predictions are made from: None: all of modality | camera | lidar
data_root = "data/nuscenes"
dataset = dict(
    type="NuScenes",
    version="auto",  # v1.0-trainval if present, else v1.0-test, else v1.0-mini
    frame="ego",  # ego | lidar: the grid's frame; lidar has x to the right
    image_size=(256, 704),  # rows, columns after crop and resize
    image_crop=(0.3535, 0.0, 1.0, 1.0),  # top, left, bottom, right kept: no sky, square pixels
    lidar_height_m=None,  # the grid's frame is the vehicle's: recordings are not moved
    num_sweeps=10,  # LiDAR sweeps accumulated, the key frame's included: half a second
    labels_source="occ3d",  # occ3d | surroundocc | openoccupancy
    labels_root=None,  # folder of the labels; None: the usual name beside data_root
    use_mask=True,  # train only on voxels that a camera saw; occ3d only
)
