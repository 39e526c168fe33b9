# The small network on MineSim in nuScenes' layout: six cameras and a spinning LiDAR, on a CPU.
# Without nuScenes' class balance: MineSim has half of the 17 classes.
_base_ = [
    "../_base_/nuscenes.py",
    "../_base_/model_small.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
data_root = "data/minesim_nuscenes/nuscenes"
grid = dict(voxel_m=0.8, shape=(100, 100, 8))  # 2×2×2 of Occ3D's voxels each
dataset = dict(image_size=(96, 264), num_sweeps=2)
augmentation = None
model = dict(
    parts=dict(
        lift=dict(bins=dict(min_m=1.0, max_m=61.0, num=40)),
        decoder=dict(channels=(32, 64)),  # at 1.6 and 3.2 m
        head=dict(free_prior=0.78),  # share of free among the voxels that a camera saw
    ),
    rendering=dict(far_m=60.0),
)
schedule = dict(epochs=8, lr=2e-3, ema_decay=0.9, val_interval=8)
runtime = dict(num_workers=0, log_interval=10)
