# The nuScenes model for novel-view depth: training also renders from other key frames of the scene.
_base_ = "nuscenes_occ.py"
model = dict(
    rendering=dict(
        novel_views=2,  # other key frames, nearest in time, whose LiDAR supervises the occupancy
        novel_rays=8192,  # rays a frame, through six cameras of each of those and its own
    ),
)
