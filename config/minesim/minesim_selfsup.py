# The demo without labels, from LiDAR rays, video, or both: no file of a label is opened.
_base_ = "minesim_occ.py"
model = dict(
    loss=dict(
        supervision="both",  # video | lidar | both
        label_free=dict(
            sources=6,
            pixels=1,
            proposals=48,
            occupied_threshold=None,  # on P(occupied); None: 0.4 with video alone, else 0.5
        ),
    ),
)
runtime = dict(find_unused_parameters=True)  # nothing trains what tells classes apart
