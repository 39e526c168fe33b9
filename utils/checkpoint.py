"""Checkpoints: written atomically, and loaded without executing code.

``latest.pth`` holds everything needed to resume a run. ``model_state_dict.pth`` holds the weights
with the best validation score, ready for ``torch.nn.Module.load_state_dict``. ``best.json`` says
which validation that was.
"""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from utils.shortlist import shortlist
from utils.whole_files import new_file

LATEST = "latest.pth"
BEST = "model_state_dict.pth"
BEST_MARK = "best.json"
WEIGHTS = "weights"
AVERAGED = "averaged_weights"
"""Keys of ``latest.pth``: the weights in training, and their moving average if there is one."""


def save_atomically(content: Any, path: Path) -> None:
    """Write a checkpoint atomically: at any moment, ``path`` is the complete old or new file."""
    with new_file(path) as partial, partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint to the CPU: tensors and plain values only, never code.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is corrupt, is not a checkpoint, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} not found; train.py writes {BEST} and {LATEST}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values; it is not loaded, because a "
            f"checkpoint must not run code: {_first_sentence(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, BadZipFile) as error:
        size = path.stat().st_size
        raise ValueError(
            f"{path} ({size} bytes) is corrupt or not a checkpoint: {_first_sentence(error)}; "
            "copy it again, or train again"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of weights")
    return content


def network_weights(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Pick the weights for inference: the averaged ones if the checkpoint has both.

    Raises:
        ValueError: If there are no weights where this project or mmengine stores them.
    """
    for key in (AVERAGED, WEIGHTS, "state_dict"):
        if checkpoint.get(key) is not None:
            found = checkpoint[key]
            break
    else:
        found = checkpoint
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        keys = sorted(map(str, found))[:5]
        raise ValueError(f"{path} holds no network weights; its first keys are {keys}")
    prefix = "module."
    wrapped = all(name.startswith(prefix) for name in found)
    return {name.removeprefix(prefix) if wrapped else name: value for name, value in found.items()}


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a checkpoint into a network, all of them.

    Args:
        model: The network, on any device.
        path: ``model_state_dict.pth`` or ``latest.pth``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a checkpoint, or belongs to another network.
    """
    fill(model, network_weights(read_checkpoint(path), path), path)


def fill(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Load ``weights``, read from ``path``, into a network.

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


def _first_sentence(error: Exception) -> str:
    """First sentence of a torch error: the rest is advice, such as to run the file's code."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.partition(". ")[0].rstrip(".")
