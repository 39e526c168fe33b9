# For networks of both sensors that also predict from either alone.
_any_sensor = dict(
    parts=dict(branch=dict(type="BranchHead")),  # each sensor's volume predicts the labels too
    sensor_dropout=dict(camera=1.0, lidar=1.0),  # each frame also without it, each
    loss=dict(weights=dict(lost_sensor=0.3)),  # a larger weight costs accuracy on complete frames
)
