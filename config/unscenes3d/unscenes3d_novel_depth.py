# The reference model for novel-view depth: training also renders from other frames of the drive.
_base_ = "unscenes3d_occ.py"
model = dict(
    rendering=dict(
        novel_views=2,  # other frames, nearest in time, whose depth supervises the occupancy
        novel_rays=4096,  # rays a frame, through all those views and its own
    ),
)
