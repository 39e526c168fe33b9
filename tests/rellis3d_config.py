"""Configs of RELLIS-3D for a CPU: the network at its smallest, and one that answers from files."""

from pathlib import Path
from typing import Any

import torch

from tests.model_inputs import model_config
from tests.nuscenes_config import BASE
from tests.rellis3d_files import SIZE
from utils.geometry import VoxelGrid

TINY_GRID = VoxelGrid((0.0, -9.6, -2.0), 1.2, (16, 16, 4))


def write_rellis_config(path: Path, data_root: Path, **changes: Any) -> Path:
    """A config file.

    Args:
        path: The file.
        data_root: What ``write_tiny_rellis`` wrote.
        changes: Other values of the top level; those of ``dataset`` are merged.
    """
    model = {
        key: value
        for key, value in model_config().items()
        if key not in ("grid", "labels", "modality")
    }
    dataset = dict(image_size=(40, 64), recorded_size=SIZE, num_sweeps=1)
    values = {
        "grid": vars(TINY_GRID),
        "data_root": str(data_root),
        "augmentation": None,
        "model": model,
        "schedule": dict(epochs=1, lr=1e-3),
        "runtime": dict(num_workers=0, tensorboard=False),
    } | changes
    values["dataset"] = dataset | changes.get("dataset", {})
    bases = [str(BASE / f"{name}.py") for name in ("rellis3d", "schedule", "runtime")]
    lines = [f"_base_ = {bases}", *(f"{key} = {value!r}" for key, value in values.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_painting_config(
    path: Path, data_root: Path, folder: Path, grid: VoxelGrid, **changes: Any
) -> Path:
    """A config file of PaintedVolume, and its weights beside it in ``model_state_dict.pth``."""
    torch.save({"weight": torch.ones(1)}, path.with_name("model_state_dict.pth"))
    painted = dict(type="PaintedVolume", folder=str(folder))
    return write_rellis_config(
        path, data_root, grid=vars(grid), modality="lidar", model=painted, **changes
    )
