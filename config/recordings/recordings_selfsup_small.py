# The demo's network on your own recordings without labels, for two CPU cores.
_base_ = [
    "../_base_/recordings.py",
    "../_base_/model_small.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
grid = dict(voxel_m=1.2, shape=(64, 64, 8))
dataset = dict(image_size=(160, 256))
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
schedule = dict(epochs=3, lr=2e-3, ema_decay=0.98, val_interval=0)
runtime = dict(num_workers=0, best_metric="depth_abs_rel", find_unused_parameters=True)
