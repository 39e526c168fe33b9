# The reference model on nuScenes: six cameras and LiDAR, 256×704 images, voxels of 0.4 m.
_base_ = [
    "../_base_/nuscenes.py",
    "../_base_/model.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
model = dict(
    parts=dict(
        lift=dict(bins=dict(min_m=1.0, max_m=61.0, num=80)),  # the grid's corners are 57 m away
        head=dict(free_prior=0.78),  # share of free among the voxels that a camera saw
    ),
    rendering=dict(
        ray_step=3,  # rendered pixels between rays: 8,000 rays through all six cameras
        far_m=60.0,  # the grid ends there
        num_segments=96,  # samples of a volume along a ray
    ),
    loss={{_base_._class_balance}},
)
