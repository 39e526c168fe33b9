# The labels of WildOcc V2.0: 32 m ahead. Their frame is not stated; the reader checks it.
_base_ = "rellis3d_occ.py"
grid = dict(origin_m=(0.0, -16.0, -2.0), shape=(160, 160, 40))
dataset = dict(
    labels_grid=dict(origin_m=(0.0, -16.0, -2.0), shape=(160, 160, 40)),
    labels_axes="forward",
)
model = dict(
    parts=dict(lift=dict(bins=dict(max_m=37.0))),  # the grid's corners are 36 m away
    rendering=dict(far_m=36.0),
)
