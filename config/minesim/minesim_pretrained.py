# The demo with an image encoder that knows ImageNet: EfficientNet-Lite0, from a package.
_base_ = "minesim_occ.py"
model = dict(
    parts=dict(
        image_encoder=dict(
            backbone="tf_efficientnet_lite0",
            weights="package",
            num_stages=4,
            norm="frozen",
            frozen_stages=4,  # only the pyramid trains: the demo is too short for more
        ),
    ),
)
