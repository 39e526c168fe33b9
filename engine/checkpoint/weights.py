"""The weights of a checkpoint, and how they get into a network."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from engine.checkpoint.files import AVERAGED
from model.weight_files import WEIGHTS, check_finite, read_checkpoint
from utils.shortlist import shortlist

RENAMED = {
    "image_encoder.stem.": "image_encoder.backbone.stem.",
    "image_encoder.stages.": "image_encoder.backbone.stages.",
}
"""Beginnings of names up to version 0.1.0, and what they are now."""
_PLACES = (AVERAGED, WEIGHTS, "state_dict")
"""Keys of the weights in checkpoints of this project and of mmengine, best first."""


logger = logging.getLogger(__name__)


class TrainedWeights(NamedTuple):
    """Weights for inference, and what their file says about their training.

    Attributes:
        path: The file.
        tensors: The weights by name.
        facts: The entries of the file, among them those of ``describe_training`` if it has them.
    """

    path: Path
    tensors: dict[str, Tensor]
    facts: Mapping[str, Any]


def read_weights(path: str | Path) -> TrainedWeights:
    """Read the weights for inference from a checkpoint of any kind.

    Args:
        path: ``model_state_dict.pth``, ``latest.pth``, a safetensors file, or a plain state dict.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, is not a checkpoint, or its weights are not finite.
    """
    content = read_checkpoint(path)
    weights = network_weights(content, path)
    check_finite(weights, path)
    return TrainedWeights(Path(path), weights, content)


def network_weights(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Pick the weights for inference: the averaged ones if the checkpoint has both.

    Raises:
        ValueError: If there are no weights where this project or mmengine stores them.
    """
    places = [key for key in _PLACES if checkpoint.get(key) is not None]
    found = checkpoint[places[0]] if places else checkpoint
    if not (
        isinstance(found, Mapping)
        and found
        and all(isinstance(value, Tensor) for value in found.values())
    ):
        keys = shortlist(sorted(map(str, checkpoint)), most=5)
        raise ValueError(
            f"{path} holds no network weights, neither under one of the keys {list(_PLACES)} nor "
            f"as a plain state dict; its keys are: {keys or 'none'}"
        )
    return renamed(found)


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by their names of today, without the prefix of distributed training."""
    prefix = "module."
    wrapped = all(name.startswith(prefix) for name in weights)
    plain = {name.removeprefix(prefix) if wrapped else name: weights[name] for name in weights}
    for before, now in RENAMED.items():
        plain = {
            now + name.removeprefix(before) if name.startswith(before) else name: value
            for name, value in plain.items()
        }
    return plain


def with_training_parts(
    weights: Mapping[str, Tensor], model: nn.Module, parts: Sequence[str], path: str | Path
) -> dict[str, Tensor]:
    """Return weights to begin a training with, whatever parts of a loss they were trained with.

    Args:
        weights: The weights.
        model: The network. Parts that the weights lack as a whole keep its own values, and those
            that it lacks are left out.
        parts: Names of parts that only training uses.
        path: File of the weights.
    """
    own, found = model.state_dict(), dict(weights)
    for part in parts:
        ours = {name for name in own if name.startswith(f"{part}.")}
        theirs = {name for name in weights if name.startswith(f"{part}.")}
        if ours and not theirs:
            logger.info("%s has no %s: it starts from random weights", path, part)
            found |= {name: own[name] for name in ours}
        elif theirs and not ours:
            logger.info("%s of %s is left out: this training does not use it", part, path)
            found = {name: value for name, value in found.items() if name not in theirs}
    return found


def fill(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Load ``weights``, read from ``path``, into a network on any device, all of them.

    Raises:
        ValueError: If names or shapes do not match.
    """
    own = model.state_dict()
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    differences = {
        "missing": sorted(own.keys() - weights.keys()),
        "not in the network": sorted(weights.keys() - own.keys()),
        "of another shape": sorted(shapes),
    }
    if any(differences.values()):
        listed = "; ".join(
            f"{len(names)} {what} ({shortlist(names)})"
            for what, names in differences.items()
            if names
        )
        raise ValueError(f"{path} does not match the network of the config: {listed}")
    model.load_state_dict(weights)
