"""The image encoder: a torchvision ResNet and a feature pyramid to one stride."""

from pathlib import Path

import torch
import torchvision
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from utils.registry import MODELS
from utils.shortlist import shortlist

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB, of values 0–255."""

NORMS = {
    "batch": nn.BatchNorm2d,
    "frozen": FrozenBatchNorm2d,
    "group": lambda channels: nn.GroupNorm(16, channels),
}
_KEY = "model.parts.image_encoder.weights"
_RANDOM = ", with norm=group and frozen_stages=0 beside it"
"""Frozen random weights and statistics would not encode anything."""
STRIDES = (4, 8, 16, 32)
"""Of the four stages of a ResNet."""


@MODELS.register_module()
class ImageEncoder(nn.Module):
    """ResNet-18, -34 or -50 with a top-down pyramid that ends at one stride.

    Args:
        depth: Layers of the ResNet: 18, 34 or 50.
        weights: Source of the ResNet's weights for ``init_weights``: None (they stay random),
            "imagenet" (torchvision's cache), or the path of a file in torchvision's format.
        stride: Pixels per feature cell: 4, 8, 16 or 32.
        channels: Channels of the features.
        num_stages: Stages of the ResNet in use, 1–4.
        norm: "batch"; "frozen" for batch norms that keep the statistics of ``weights``; or "group"
            to train from random weights with one or two images a batch, which are too few for the
            statistics of a batch norm.
        frozen_stages: Number of stages that are not trained, nor is the stem; 0 trains all.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        depth: int = 50,
        weights: str | None = None,
        stride: int = 16,
        channels: int = 256,
        num_stages: int = 4,
        norm: str = "batch",
        frozen_stages: int = 0,
    ) -> None:
        super().__init__()
        _check(depth=(depth, (18, 34, 50)), norm=(norm, tuple(NORMS)))
        _check(num_stages=(num_stages, (1, 2, 3, 4)), stride=(stride, STRIDES[:num_stages]))
        _check(frozen_stages=(frozen_stages, tuple(range(num_stages + 1))))
        self.depth, self.weights, self.stride, self.channels = depth, weights, stride, channels
        resnet = torchvision.models.get_model(
            f"resnet{depth}", weights=None, norm_layer=NORMS[norm]
        )
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stages = nn.ModuleList(getattr(resnet, f"layer{i + 1}") for i in range(num_stages))
        self.frozen = [self.stem, *self.stages[:frozen_stages]] if frozen_stages else []
        for module in self.frozen:
            module.requires_grad_(False)
        self.pyramid = Pyramid(
            [_out_channels(stage) for stage in self.stages][STRIDES.index(stride) :], channels
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def init_weights(self) -> None:
        """Load the ResNet's weights, if the config names any."""
        if self.weights is not None:
            load_resnet(self, find_weights(self.weights, self.depth))

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
        features = (images.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        features = self.stem(features.contiguous(memory_format=torch.channels_last))
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
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


def find_weights(weights: str, depth: int) -> Path:
    """The file that a config's ``weights`` refers to.

    Args:
        weights: "imagenet" or a path.
        depth: Layers of the ResNet.

    Raises:
        FileNotFoundError: If there is no such file. Nothing is downloaded automatically.
    """
    if weights != "imagenet":
        path, cure = Path(weights), f"correct {_KEY}, or set it to None{_RANDOM}"
    else:
        url = torchvision.models.get_model_weights(f"resnet{depth}").IMAGENET1K_V1.url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        cure = f"download {url} there, or set {_KEY} to your file or to None{_RANDOM}"
    if not path.is_file():
        raise FileNotFoundError(f"no weights of ResNet-{depth} at {path}: {cure}")
    return path


def load_resnet(encoder: ImageEncoder, path: Path) -> None:
    """Copy a torchvision ResNet's weights into an encoder, without the classifier.

    Raises:
        ValueError: If the file holds another network.
    """
    names = {"conv1": "stem.0", "bn1": "stem.1"}
    names |= {f"layer{i + 1}": f"stages.{i}" for i in range(len(encoder.stages))}
    saved = torch.load(path, map_location="cpu", weights_only=True)
    own = encoder.state_dict()
    state = {}
    for key, value in saved.items():
        first, _, rest = key.partition(".")
        name = f"{names.get(first)}.{rest}"
        if name in own:
            state[name] = value
    wanted = {key for key in own if key.startswith(("stem.", "stages."))}
    # Files older than PyTorch 0.4.1 lack the batch counters, which are not used here.
    missing = sorted(key for key in wanted - set(state) if not key.endswith("batches_tracked"))
    wrong = sorted(key for key, value in state.items() if value.shape != own[key].shape)
    if missing or wrong:
        raise ValueError(
            f"{path} does not hold a ResNet-{encoder.depth} of torchvision: "
            f"{len(missing)} tensors are missing ({shortlist(missing)}), {len(wrong)} have "
            f"another shape ({shortlist(wrong)})"
        )
    encoder.load_state_dict(state, strict=False)


def _check(**choices: tuple[object, tuple[object, ...]]) -> None:
    """Raise if an argument is not among its choices."""
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"image encoder: {name} must be one of {allowed}, got {value!r}")


def _out_channels(stage: nn.Module) -> int:
    """Output channels of a stage of a ResNet."""
    convolutions = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
    return convolutions[-1].out_channels
