# The demo without labels, from LiDAR rays, video, or both: no file of a label is opened.
_base_ = "minesim_occ.py"
model = dict(
    parts=dict(head=dict(free_prior=1 / 12)),  # all classes alike: for video, a distance of 0
    loss=dict(
        supervision="both",  # labels | video | lidar | both
        label_free=dict(ground_m=-2.7),  # the LiDAR is that high
    ),
)
