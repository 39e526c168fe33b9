# The reference model without labels, from LiDAR rays, video, or both: also for your own recordings.
_base_ = "unscenes3d_occ.py"
model = dict(
    loss=dict(
        supervision="both",  # video | lidar | both
        label_free=dict(
            occupied_threshold=None,  # on P(occupied); None: 0.4 with video alone, else 0.5
        ),
    ),
)
schedule = dict(val_interval=0)  # validation would read labels
runtime = dict(find_unused_parameters=True)  # nothing trains what tells classes apart
