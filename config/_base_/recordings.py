# Your own recordings, as docs/own_data.md describes them: how a frame is read. The rest is that of
# UnScenes3D.
_base_ = "unscenes3d.py"
data_root = "drives"
dataset = dict(
    _delete_=True,
    type="Recordings",
    train=None,  # folders in data_root, or other paths; None: all that are in no other split
    val=(),
    test=(),
    key_every_s=0.5,  # time between frames that are trained on and scored [s]; 0: all are
    image_size=(384, 1280),  # rows, columns after crop and resize
    image_crop=(0.0, 0.0, 1.0, 1.0),  # top, left, bottom, right kept
    num_sweeps=1,  # LiDAR sweeps accumulated, the frame's own included
    max_range_m=110.0,  # farther points are dropped
    lidar_height_m=2.7,  # of the LiDAR above level ground, to which recordings are moved
    vehicle_m=(-2.5, 1.0, -1.2, 1.2, -3.0, 0.3),  # x, y, z of your vehicle: its points are no rays
)
