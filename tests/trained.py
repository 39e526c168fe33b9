"""Files of trained weights, as a training writes them, but random."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.build.build import build_model
from engine.checkpoint.files import save_atomically
from engine.checkpoint.origin import describe_training
from model.weight_files import WEIGHTS


def save_trained(cfg: Config, path: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write the network of a config; ``changes`` replace entries of the file."""
    weights = build_model(cfg, seed=seed).state_dict()
    save_atomically({WEIGHTS: weights, **describe_training(cfg), **changes}, path)
    return path
