# The demo: a small network on a small mine, for two CPU cores and a few minutes.
_base_ = [
    "../_base_/unscenes3d.py",
    "../_base_/model_small.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
model = dict(loss={{_base_._class_balance}})
data_root = "data/minesim_demo"
grid = dict(voxel_m=1.2, shape=(64, 64, 8))  # 4×4×4 label voxels each: majority of the labeled ones
dataset = dict(
    split_source="lists",
    image_size=(160, 256),
    image_crop=(0.0, 0.0, 1.0, 1.0),
)
augmentation = dict(  # off: each frame is seen only three times
    image_scale=(1.0, 1.0),
    brightness=0.0,
    contrast=0.0,
    volume_flip_prob=0.0,
    volume_rotation_deg=0.0,
)
schedule = dict(
    epochs=3,
    batch_size=1,  # many small updates learn more in a few minutes than few large ones
    lr=2e-3,
    ema_decay=0.98,  # the run has a few hundred iterations
    val_interval=0,  # eval_iou.py scores the demo
)
runtime = dict(num_workers=0, log_interval=10)
