# The demo's network for both sensors or either alone: predict.py and eval_iou.py --sensors.
_base_ = "minesim_occ.py"
model = dict(
    parts=dict(branch=dict(type="BranchHead")),  # each sensor's volume predicts the labels too
    sensor_dropout=dict(camera=0.5, lidar=0.5),  # half of the frames also without it, each
)
