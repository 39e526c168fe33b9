# A small network of the same method on MineSim-Bench, to share: 16 MiB in half precision.
_base_ = "bench/full.py"
model = dict(
    parts=dict(
        image_encoder=dict(channels=96),
        lift=dict(channels=48, hidden_channels=128),
        lidar_encoder=dict(channels=48),  # its sparse stages are as wide: they hold few weights
        fusion=dict(channels=48, hidden_channels=24),
        decoder=dict(channels=(48, 112, 160)),  # narrowest at 0.6 m, where a channel costs most
        head=dict(channels=24),
    ),
)
schedule = dict(epochs=14)  # twice the variants': it is to be used, not to be compared with them
