# UnScenes3D: grid, classes and how a frame is read. Names with "_" are for other config files.
_base_ = "augmentation.py"
labels = "unscenes3d"
grid = dict(
    origin_m=(0.0, -38.4, -4.0),  # lower corner in the LiDAR frame: x forward, y left, z up
    voxel_m=0.3,
    shape=(256, 256, 32),
)
_class_balance = dict(  # of the published shares of the labels; for model.loss, free first
    # 1 / log(1.2 + share), relative to driveable_surface. The offset is larger than ENet's, because
    # the other terms balance the classes too.
    class_weights=(1.0, 3.3, 3.3, 3.4, 3.5, 3.4, 3.4, 3.5, 3.4, 3.4, 1.6, 1.0),
    class_counts=(0, 544, 578, 95, 14, 95, 102, 1, 286, 88, 20012, 46179),  # of 68,000 a frame
)
_elevation_cells = dict(  # of the elevation labels; dataset/layout.py explains how they are counted
    near_right_m=(25.0, -10.88),  # corner in the LiDAR frame
    cell_m=0.1,
    shape=(204, 217),  # rows, the first at the far end, and columns, the first on the left
)
modality = "both"  # both | camera | lidar: what the network sees, and so what is read
sensors = None  # what predictions are made from: None: all of modality | camera | lidar
data_root = "data/unscenes3d"
dataset = dict(
    type="UnScenes3D",
    split_source="auto",  # lists if there are any, else official, else region
    image_size=(384, 1280),  # rows, columns after crop and resize
    image_crop=(0.2, 0.0, 0.95, 1.0),  # top, left, bottom, right kept: no sky, no hood
    num_sweeps=1,  # LiDAR sweeps accumulated, the frame's own included
    max_range_m=110.0,  # farther points are dropped, as the data set's authors do
    intensity_max=255.0,  # largest intensity that files in clouds/ can hold
    lidar_height_m=2.7,  # of the LiDAR above level ground; recordings are moved to it
    pose_rule="auto",  # meaning of Tr_velo_to_imu: auto | extrinsic | pose
)
augmentation = dict(
    mix=dict(  # directions from another frame, in image, depth, points and labels
        sector_prob=0.0,  # a sector of azimuths
        sector_deg=(20.0, 90.0),  # its width
        bands_prob=0.0,  # every second band of inclination
        bands_deg=(2.0, 8.0),  # their width
    ),
    paste=dict(  # objects of rare classes from other frames, on free ground
        objects=0,  # up to this number a frame
        classes=(),  # names; (): long-tail classes in less than half of the frames
        turn_deg=25.0,  # ± about the camera
    ),
)
