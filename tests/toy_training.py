"""A data set, a network and a config so small that a whole training takes a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from dataset.frame_dataset import FrameDataset
from dataset.sample import Batch, Sample, SampleKey
from model.objective import LABELS
from model.prediction import Prediction
from model.unsocc import UnsOcc
from utils.geometry import VoxelGrid
from utils.labels import label_set
from utils.registry import DATASETS, MODELS

SCHEDULE = Path(__file__).parents[1] / "config/_base_/schedule.py"
RUNTIME = Path(__file__).parents[1] / "config/_base_/runtime.py"


@DATASETS.register_module(force=True)
class ToyFrames(FrameDataset):
    """Points in random voxels of a class that their height tells; jittered in training."""

    def __init__(
        self,
        data_root: str,
        split: str,
        grid: VoxelGrid,
        fields: Sequence[str],
        *,
        labels: str | None = None,
        num_frames: int = 6,
        augmentation: dict[str, Any] | None = None,
        seed: int = 0,
    ):
        del labels
        if data_root == "nowhere":
            raise FileNotFoundError("no data set at nowhere")
        self.split, self.grid, self.fields, self.num_frames = split, grid, fields, num_frames
        self.jitter = (augmentation or {}).get("jitter", 0.0)
        self.seed = seed
        self.scenes, self.image_size = [""] * num_frames, (0, 0)
        self.stems = [f"{split}_{index}" for index in range(num_frames)]

    def __len__(self) -> int:
        return self.num_frames

    def stems_with(self, field: str) -> list[str]:
        return self.stems if field in ("points", "occupancy") else []

    def neighbors(self, count: int) -> list[list[int]]:
        raise ValueError("each frame is a scene of its own")

    def __getitem__(self, key: int | SampleKey) -> Sample:
        draw = key if isinstance(key, SampleKey) else SampleKey(key)
        frame = np.random.default_rng((len(self.split), draw.index))
        voxels = frame.integers(0, self.grid.shape, size=(20, 3))
        occupancy = np.zeros(self.grid.shape, np.uint8)
        occupancy[tuple(voxels.T)] = np.where(voxels[:, 2] > 1, 10, 11)
        jitter = np.random.default_rng((self.seed, draw.epoch, draw.index))
        points = self.grid.meters_from_voxel(voxels + 0.5)
        points = points + self.jitter * jitter.standard_normal(points.shape)
        return Sample(
            stem=self.stems[draw.index],
            points=torch.from_numpy(points).float() if "points" in self.fields else None,
            occupancy=torch.from_numpy(occupancy),
        )


@MODELS.register_module(force=True)
class ToyNetwork(UnsOcc):
    """Convolutions over the number of points a voxel, with dropout and running statistics."""

    def __init__(
        self,
        grid: VoxelGrid,
        labels: str,
        modality: str,
        *,
        dropout: float = 0.2,
        fail_at: int = -1,
    ):
        BaseModel.__init__(self, data_preprocessor=dict(type="BatchPreprocessor"))
        self.uses_camera, self.sensor_dropout = False, None
        self.modality = self.sensors = modality
        self.rendering = self.refinement = self.elevation = None
        self.supervision, self.occupied_threshold = LABELS, None
        self.grid, self.num_classes = grid, label_set(labels).num_classes
        self.body = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Conv3d(4, self.num_classes, 1)
        self.fail_at = fail_at
        self.steps = 0

    def forward(self, batch: Batch, mode: str = "tensor") -> Any:
        assert batch.points is not None or batch.images is not None
        points = batch.points or [self.head.weight.new_zeros(0, 4)] * len(
            batch
        )  # Of a camera only.
        counts = torch.stack([self.count(cloud) for cloud in points])
        logits = self.head(self.body(counts[:, None]))
        if mode == "loss":
            self.steps += 1
            if self.steps == self.fail_at:
                raise FloatingPointError(f"the loss of frames {batch.stems} is nan")
            assert batch.occupancy is not None
            target = batch.occupancy.long()
            return {"loss_occupancy": nn.functional.cross_entropy(logits, target)}
        if mode == "predict":
            parts = zip(batch.stems, logits.argmax(1).byte(), strict=True)
            return [Prediction(*part) for part in parts]
        return logits

    def count(self, points: Tensor) -> Tensor:
        counts = torch.zeros(self.grid.shape)
        index = self.grid.voxel_from_meters(points[:, :3]).floor().long()
        inside = self.grid.contains(points[:, :3])
        counts.index_put_(tuple(index[inside].T), torch.ones(()), accumulate=True)
        return counts


def write_toy_config(folder: Path, **schedule: Any) -> Path:
    """A config file of the toys; ``schedule`` overrides its schedule."""
    values = {
        "epochs": 4,
        "batch_size": 2,
        "lr": 1e-2,
        "ema_decay": 0.9,
        "gradient_accumulation": 2,
    } | schedule
    path = folder / "toy.py"
    path.write_text(
        f"""
_base_ = ["{SCHEDULE}", "{RUNTIME}"]
labels = "unscenes3d"
grid = dict(origin_m=(0.0, 0.0, 0.0), voxel_m=1.0, shape=(4, 4, 4))
modality = "lidar"
data_root = "{folder}"
dataset = dict(type="ToyFrames", num_frames=6)
model = dict(type="ToyNetwork", dropout=0.2, fail_at=0)
augmentation = dict(jitter=0.2)
schedule = dict({", ".join(f"{key}={value!r}" for key, value in values.items())})
runtime = dict(num_workers=0, log_interval=1, tensorboard=False)
"""
    )
    return path
