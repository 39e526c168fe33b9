# UnScenes3D: grid, classes and how a frame is read.
labels = "unscenes3d"
grid = dict(
    origin_m=(0.0, -38.4, -4.0),  # lower corner in the LiDAR frame: x forward, y left, z up
    voxel_m=0.3,
    shape=(256, 256, 32),
)
modality = "both"  # both | camera | lidar: what the network sees, and so what is read
data_root = "data/unscenes3d"
dataset = dict(
    type="UnScenes3D",
    split_source="auto",  # lists if there are any, else official, else region
    image_size=(384, 1280),  # rows, columns after crop and resize
    image_crop=(0.2, 0.0, 0.95, 1.0),  # top, left, bottom, right kept: no sky, no bonnet
    num_sweeps=1,  # LiDAR sweeps accumulated, the frame's own included
    max_range_m=110.0,  # returns farther ahead are dropped, as the data set's authors do
    pose_rule="auto",  # what Tr_velo_to_imu means: auto | extrinsic | pose
)
augmentation = dict(
    image_scale=(0.95, 1.05),  # zoom about the centre
    brightness=0.2,  # ± share
    contrast=0.2,  # ± share
    volume_flip_prob=0.5,  # mirror left and right
    volume_rotation_deg=5.0,  # ± about the vertical
)
