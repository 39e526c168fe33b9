# MineSim-Bench: what all variants in config/minesim/bench/ share. They import it by name.
_base_ = "minesim_encoder.py"
# Shares of the frames that training also predicts without that sensor, in the full network and
# those that lack one of its parts; the baselines are trained on complete frames alone.
_sensor_dropout = dict(camera=0.25, lidar=0.25)
_loss = dict(weights=dict(lost_sensor=0.3))  # a larger weight costs accuracy on complete frames
_data_root = "data/minesim_bench"
_dataset = dict(
    split_source="lists",
    image_size=(288, 800),  # the crop keeps 375 rows of 500
)
_augmentation = dict(  # as in minesim_full.py; it does not repeat frames, so epochs are alike
    image=dict(blur_px=1.0, noise=0.05, patches=3),
    paste=dict(objects=3),
)
_schedule = dict(  # 7 epochs of 300 iterations: 5 to 8 minutes on an H200
    epochs=7,
    batch_size=4,
    lr=5e-4,
    ema_decay=0.99,
    val_interval=0,  # weights are those of the last epoch; validation and test are scored after it
)
_runtime = dict(num_workers=12)
