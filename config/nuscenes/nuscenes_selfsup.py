# The nuScenes model without labels, from LiDAR rays, video, or both.
_base_ = "nuscenes_occ.py"
model = dict(
    loss=dict(
        supervision="both",  # video | lidar | both
        label_free=dict(
            sources=2,  # other key frames, half a second apart
            rays=8192,
            depths_m=(2.0, 60.0),
            occupied_threshold=None,  # on P(occupied); None: 0.4 with video alone, else 0.5
        ),
    ),
)
schedule = dict(val_interval=0)  # validation would read labels
runtime = dict(find_unused_parameters=True)  # nothing trains what tells classes apart
