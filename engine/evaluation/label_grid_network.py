"""Predict on another grid in another frame from a network's volume."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn.functional import grid_sample

from dataset.sample import Batch
from model.labels import choose_labels
from model.preprocess import BatchPreprocessor
from utils.geometry import VoxelGrid, transform_points
from utils.labels import FREE

_VOXELS_AT_ONCE = 1_000_000
"""Limits the memory of the sampled scores: 70 MB for 18 classes."""


@dataclass
class GridPrediction:
    """Occupancy of one frame on the grid of a benchmark.

    Attributes:
        stem: Stem of the frame.
        occupancy: Label of each voxel; 0 free, never 255.
    """

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]


class LabelGridNetwork(BaseModel):
    """A network that predicts on a benchmark's grid from its own volume.

    Logits are sampled trilinearly at the centers of the benchmark's voxels, as in OpenOccupancy's
    upsampling; the label is the best class.

    Args:
        network: Returns the logits of its volume in mode "tensor".
        volume: The grid of the logits.
        grid: The predicted grid.
        num_classes: Number of labels, including free; later ones of the network are not predicted.
        volume_from_label: Returns the transform from the label frame to the volume, by stem.
        occupied_threshold: Minimum probability of not being free for an occupied voxel; None: a
            voxel is occupied if its best class is not free.
    """

    def __init__(
        self,
        network: BaseModel,
        volume: VoxelGrid,
        grid: VoxelGrid,
        num_classes: int,
        volume_from_label: Callable[[str], Float64[np.ndarray, "4 4"]],
        *,
        occupied_threshold: float | None = None,
    ) -> None:
        super().__init__(data_preprocessor=BatchPreprocessor())
        self.network = network
        self._volume, self._grid, self._num_classes = volume, grid, num_classes
        self._volume_from_label = volume_from_label
        self._occupied_threshold = occupied_threshold

    def compile_parts(self, mode: str) -> None:
        """Have torch.compile fuse the dense parts of the network."""
        self.network.compile_parts(mode)

    def capture(self) -> None:
        """Have the network replay CUDA graphs."""
        self.network.capture()

    def forward(self, batch: Batch, mode: str = "predict") -> list[GridPrediction]:
        """Predict the benchmark's grid, frame by frame.

        Raises:
            ValueError: If the mode is not "predict".
        """
        if mode != "predict":
            raise ValueError(f"mode must be 'predict' on a benchmark's grid, got '{mode}'")
        volumes = self.network(batch, mode="tensor")[:, : self._num_classes]
        predictions = []
        for stem, logits in zip(batch.stems, volumes, strict=True):
            labels = labels_on_grid(
                logits.float(),
                self._volume,
                self._grid,
                self._volume_from_label(stem),
                occupied_threshold=self._occupied_threshold,
            )
            predictions.append(GridPrediction(stem, labels))
        return predictions


def labels_on_grid(
    logits: Float[Tensor, "classes X Y Z"],
    volume: VoxelGrid,
    grid: VoxelGrid,
    volume_from_grid: Float64[np.ndarray, "4 4"],
    *,
    occupied_threshold: float | None = None,
) -> UInt8[Tensor, "x y z"]:
    """Predict labels on another grid from the logits of a volume.

    Args:
        logits: Logits of the classes, free first.
        volume: The grid of the logits.
        grid: The grid to predict; voxels whose center is outside the volume are free.
        volume_from_grid: From the frame of the grid to that of the volume.
        occupied_threshold: As in ``choose_labels``.
    """
    if grid == volume and np.array_equal(volume_from_grid, np.eye(4)):
        return choose_labels(logits, occupied_threshold)
    matrix = torch.from_numpy(volume_from_grid).to(logits)
    labels = []
    for slab in _slabs(grid):
        points = transform_points(matrix, slab.centers_m(logits.device).reshape(-1, 3))
        is_inside = volume.contains(points)
        found = torch.full(is_inside.shape, FREE, dtype=torch.uint8, device=logits.device)
        if is_inside.any():
            found[is_inside] = choose_labels(
                _scores_at(logits, volume, points[is_inside]), occupied_threshold
            )
        labels.append(found.reshape(slab.shape))
    return torch.cat(labels)


def _scores_at(
    logits: Float[Tensor, "classes X Y Z"], volume: VoxelGrid, points: Float[Tensor, "N 3"]
) -> Float[Tensor, "classes N"]:
    """Sample trilinearly; within half a voxel of the border, use the values of the border."""
    with torch.autocast(logits.device.type, enabled=False):
        sampled = grid_sample(
            logits[None],
            volume.sampling_from_meters(points)[None, None, None],
            padding_mode="border",
            align_corners=False,
        )
    return sampled[0, :, 0, 0]


def _slabs(grid: VoxelGrid) -> list[VoxelGrid]:
    """Split the grid along x into parts of at most ``_VOXELS_AT_ONCE`` voxels, if possible."""
    x, y, z = grid.shape
    depth = max(1, _VOXELS_AT_ONCE // (y * z))
    x_m, y_m, z_m = grid.origin_m
    return [
        replace(
            grid,
            origin_m=(x_m + first * grid.voxel_m, y_m, z_m),
            shape=(min(depth, x - first), y, z),
        )
        for first in range(0, x, depth)
    ]
