"""Occupancy scores on the grid of a config, also by distance and along LiDAR rays."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from dataset.sample import Batch
from engine.evaluation.occupancy_metric import FramePrediction, OccupancyMetric, pool
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, occupancy_scores
from engine.metrics.ratios import percent
from engine.metrics.ray_iou import RayCounts, RayScores, ray_scores
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

LIDAR_POSITION_M = (0.0, 0.0, 0.0)
"""The grid of a config is in the LiDAR frame."""


@dataclass(frozen=True)
class DistanceScores:
    """Scores of the voxels within ranges of ground distance from the LiDAR.

    Attributes:
        edges_m: Where the ranges begin and end [m]; the last one has no end.
        bands: Scores of each range.
    """

    edges_m: tuple[float, ...]
    bands: tuple[OccupancyScores, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the scores by key, nearest range first; its limits are in meters."""
        ends = [*self.edges_m[1:], None]
        limits = zip(self.edges_m, ends, strict=True)
        return {
            "by_distance": [
                {"from_m": begin, "to_m": end} | scores.to_json()
                for (begin, end), scores in zip(limits, self.bands, strict=True)
            ]
        }

    def table(self, grid: str = "") -> str:
        """Format IoU and means for a terminal: percent, one range per line."""
        lines = [f"{'distance [m]':<14}{'IoU':>8}{'mIoU':>8}{'long-tail mIoU':>16}"]
        ends = [f"–{end:g}" for end in self.edges_m[1:]] + [" and more"]
        for begin, end, scores in zip(self.edges_m, ends, self.bands, strict=True):
            values = (scores.iou, scores.miou, scores.long_tail_miou)
            iou, miou, long_tail = map(percent, values)
            lines.append(f"{begin:g}{end}".ljust(14) + f"{iou:>8}{miou:>8}{long_tail:>16}")
        where = f"; grid {grid}" if grid else ""
        return "\n".join([*lines, f"Percent; ground distance of voxels from the LiDAR{where}."])


class GridMetric(OccupancyMetric):
    """Occupancy scores on the grid of a config; on request by distance, and RayIoU.

    Attributes:
        distances: Scores by distance of the last evaluation; None if not requested.
        rays: RayIoU of the last evaluation; None if not requested.
    """

    def __init__(
        self,
        labels: str | LabelSet,
        grid: VoxelGrid,
        convention: str = "default",
        save_pred: str | Path | None = None,
        *,
        distances_m: Sequence[float] = (),
        ray_iou: bool = False,
    ) -> None:
        """Check the options before any frame is predicted.

        Args:
            labels: The label set, or its name.
            grid: The grid of predictions and labels, in the LiDAR frame.
            convention: Name of the convention for means.
            save_pred: Output folder for predictions, ``STEM.npy``; None writes nothing.
            distances_m: Where ranges of distance end and the next begin [m]; none: no ranges.
            ray_iou: Whether to compute RayIoU.

        Raises:
            ValueError: If the label set or the convention is unknown, or a range is empty.
        """
        super().__init__(labels, convention, save_pred)
        self.distances: DistanceScores | None = None
        self.rays: RayScores | None = None
        self._grid = grid
        self._edges_m = (0.0, *distances_m) if distances_m else ()
        if any(begin >= end for begin, end in itertools.pairwise(self._edges_m)):
            raise ValueError(f"--distances must be above 0 and increase, got {list(distances_m)}")
        self._ray_iou = ray_iou
        self._masks: list[Bool[Tensor, "X Y Z"]] = []
        self._band_counts: dict[str, list[Confusion]] = {}
        self._ray_counts: dict[str, RayCounts] = {}

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count the frames of a batch.

        Args:
            data_batch: The batch from the data loader, with labels.
            data_samples: The model's predictions, in the same order.
        """
        super().process(data_batch, data_samples)
        assert data_batch.occupancy is not None, "super() rejects batches without labels"
        if self._edges_m:
            for prediction, target in zip(data_samples, data_batch.occupancy, strict=True):
                self._band_counts[prediction.stem] = self._count_bands(prediction, target)
        if self._ray_iou:
            preds, targets = [found.occupancy for found in data_samples], list(data_batch.occupancy)
            origin = torch.tensor([LIDAR_POSITION_M])
            counts = self._empty_rays().of_frames(preds, targets, origin, self._grid)
            self._ray_counts |= dict(
                zip((found.stem for found in data_samples), counts, strict=True)
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames since the last evaluation, and reset."""
        metrics = super().evaluate(size)
        if self._edges_m:
            self.distances = self._score_bands()
        if self._ray_iou:
            counts, self._ray_counts = self._ray_counts, {}
            self.rays = ray_scores(pool(counts, self._empty_rays()), self.labels)
            metrics["rayiou"] = self.rays.rayiou
        return metrics

    @property
    def all_scores(self) -> list[Any]:
        """All scores of the last evaluation, each with a ``table`` and a ``to_json``."""
        further = (self.distances, self.rays)
        return [*super().all_scores, *(found for found in further if found is not None)]

    def _count_bands(self, prediction: FramePrediction, target: Tensor) -> list[Confusion]:
        device = prediction.occupancy.device
        if not self._masks or self._masks[0].device != device:
            self._masks = [mask.to(device) for mask in distance_masks(self._grid, self._edges_m)]
        found = []
        for mask in self._masks:
            counts = self._empty()
            counts.update(prediction.occupancy, target, mask)
            found.append(counts)
        return found

    def _score_bands(self) -> DistanceScores:
        counted, self._band_counts = self._band_counts, {}
        totals = [
            pool({stem: bands[band] for stem, bands in counted.items()}, self._empty())
            for band in range(len(self._edges_m))
        ]
        scores = [occupancy_scores(total, self.labels, self.convention.name) for total in totals]
        return DistanceScores(self._edges_m, tuple(scores))

    def _empty_rays(self) -> RayCounts:
        return RayCounts(self.labels.num_classes, ignore_invalid=self.convention.ignore_invalid)


def distance_masks(grid: VoxelGrid, edges_m: Sequence[float]) -> list[Bool[Tensor, "X Y Z"]]:
    """Return the voxels of each range of ground distance from the LiDAR, by their centers.

    Args:
        grid: The grid, in the LiDAR frame.
        edges_m: Where the ranges begin and end [m]; the last one has no end.
    """
    distance_m = torch.linalg.vector_norm(grid.centers_m()[..., :2], dim=-1)
    ends = [*edges_m[1:], math.inf]
    return [
        (distance_m >= begin) & (distance_m < end) for begin, end in zip(edges_m, ends, strict=True)
    ]
