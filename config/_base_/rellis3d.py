# RELLIS-3D with the labels of WildOcc V1: grid, classes and how a frame is read. Names with "_" are
# for other config files.
_base_ = "augmentation.py"
labels = "rellis3d"  # rellis3d: 18 classes | wildocc: the 7 that are scored, and others
grid = dict(
    # Lower corner in the LiDAR frame: x forward, y left, z up. The labels end at x 20 and y ±10;
    # two voxels more along each axis let the decoder halve the volume, and are ignored.
    origin_m=(0.0, -10.4, -2.0),
    voxel_m=0.2,
    shape=(104, 104, 40),
)
_class_balance = dict(  # of the labeled points of the training list; voxel shares are not published
    # 1 / log(1.2 + share), relative to grass; free is 1.
    class_weights=(
        *(1.0, 2.76, 1.0, 1.54, 2.76, 2.75, 2.76, 2.76, 2.76, 2.76),
        *(2.75, 2.55, 2.72, 1.25, 2.54, 2.68, 2.73, 2.64, 2.69),
    ),
    class_counts=(  # of 20,000 a frame
        *(0, 0, 9076, 3726, 1, 8, 4, 0, 0, 0),
        *(19, 369, 55, 5868, 381, 122, 52, 202, 118),
    ),
)
_benchmark_balance = dict(  # the same for labels="wildocc"
    class_weights=(1.0, 1.0, 1.54, 1.25, 2.73, 2.64, 2.68, 2.69, 2.32),
    class_counts=(0, 9076, 3726, 5868, 52, 202, 122, 118, 837),
)
modality = "both"  # both | camera | lidar: what the network sees, and so what is read
sensors = None  # what predictions are made from: None: all of modality | camera | lidar
data_root = "data/Rellis-3D"
dataset = dict(
    type="Rellis3D",
    split_source="lists",  # lists: as published, cut sequences | sequence: whole ones
    image_size=(640, 1024),  # rows, columns after the resize; the camera is 38° wide
    image_crop=(0.0, 0.0, 1.0, 1.0),  # top, left, bottom, right kept
    recorded_size=(1200, 1920),  # rows, columns of the images, which the calibration is for
    num_sweeps=4,  # LiDAR sweeps accumulated, the frame's own included: 0.4 s
    intensity_max=1 / 64,  # this much in the files becomes 1; they hold small numbers
    min_range_m=2.1,  # nearer points are on the vehicle
    lidar_height_m=1.2,  # of the LiDAR above level ground; recordings are moved to it
    labels_root=None,  # folder of WildOcc's labels; None: wildocc beside data_root
    labels_grid=dict(  # in the frame of the label files
        origin_m=(-20.0, -10.0, -2.0),
        voxel_m=0.2,
        shape=(100, 100, 40),
    ),
    labels_axes="ouster",  # ouster: x backward, y right | forward | mirrored_x | mirrored_y
    labels_ids="rellis",  # rellis: ids of the point labels | benchmark: 1–7, others 0
    labels_more_ids=(),  # further ids and the name of their class, such as (40, "bush")
)
