# The reference model on your own recordings without labels, from LiDAR rays, video, or both.
_base_ = [
    "../_base_/recordings.py",
    "../_base_/model.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
model = dict(
    loss=dict(
        supervision="both",  # video | lidar | both
        label_free=dict(
            occupied_threshold=None,  # on P(occupied); None: 0.4 with video alone, else 0.5
        ),
    ),
)
schedule = dict(val_interval=0)  # 1 with --depth-metric: depth is all that can be scored
runtime = dict(
    best_metric="depth_abs_rel",
    find_unused_parameters=True,  # nothing trains what tells classes apart
)
