# The demo's network for novel-view depth: training also renders from other frames of the drive.
_base_ = "minesim_occ.py"
model = dict(
    rendering=dict(
        novel_views=2,  # other frames, nearest in time, whose depth supervises the occupancy
        novel_rays=2048,  # rays a frame, through all those views and its own
    ),
)
