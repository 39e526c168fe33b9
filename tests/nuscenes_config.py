"""Configs of nuScenes for a CPU: the network at its smallest, and one that answers from files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from dataset.sample import Batch
from model.objective import LABELS
from model.preprocess import BatchPreprocessor
from model.unsocc import UnsOcc
from tests.model_inputs import model_config
from utils.geometry import VoxelGrid
from utils.labels import label_set
from utils.registry import MODELS

BASE = Path(__file__).parents[1] / "config" / "_base_"
TINY_GRID = VoxelGrid((-25.6, -25.6, -1.0), 1.6, (32, 32, 4))


@MODELS.register_module(force=True)
class PaintedVolume(UnsOcc):
    """Predicts the labels that lie in ``folder`` as ``STEM.npy``."""

    def __init__(
        self,
        grid: VoxelGrid,
        labels: str,
        modality: str,
        folder: str,
        occupied_threshold: float | None = None,
    ):
        BaseModel.__init__(self, data_preprocessor=BatchPreprocessor())
        self.grid, self.folder = grid, Path(folder)
        self.num_classes = label_set(labels).num_classes
        self.uses_camera, self.supervision = False, LABELS
        self.occupied_threshold = occupied_threshold
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch, mode: str = "tensor") -> Tensor:
        assert mode == "tensor"
        painted = np.stack([np.load(self.folder / f"{stem}.npy") for stem in batch.stems])
        assert painted.shape[1:] == self.grid.shape
        labels = torch.from_numpy(painted)[:, None].long()
        logits = torch.zeros(len(labels), self.num_classes, *self.grid.shape)
        return logits.scatter_(1, labels, 10.0)


def write_nuscenes_config(path: Path, data_root: Path, **changes: Any) -> Path:
    """A config file.

    Args:
        path: The file.
        data_root: What ``write_tiny_nuscenes`` wrote.
        changes: Other values of the top level; dictionaries are merged.
    """
    model = {
        key: value
        for key, value in model_config().items()
        if key not in ("grid", "labels", "modality")
    }
    values = {
        "grid": vars(TINY_GRID),
        "data_root": str(data_root),
        "dataset": dict(image_size=(32, 88), num_sweeps=2),
        "augmentation": None,
        "model": model,
        "schedule": dict(epochs=1, lr=1e-3),
        "runtime": dict(num_workers=0, tensorboard=False),
    } | changes
    bases = [str(BASE / f"{name}.py") for name in ("nuscenes", "schedule", "runtime")]
    lines = [f"_base_ = {bases}", *(f"{key} = {value!r}" for key, value in values.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_painting_config(
    path: Path, data_root: Path, folder: Path, grid: VoxelGrid, **dataset: Any
) -> Path:
    """A config file of PaintedVolume, and its weights beside it in ``model_state_dict.pth``."""
    torch.save({"weight": torch.ones(1)}, path.with_name("model_state_dict.pth"))
    return write_nuscenes_config(
        path,
        data_root,
        grid=vars(grid),
        modality="lidar",
        dataset=dict(num_sweeps=1) | dataset,
        model=dict(type="PaintedVolume", folder=str(folder)),
    )
