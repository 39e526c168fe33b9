"""RayIoU: compare labels and depths of simulated LiDAR rays in prediction and ground truth.

Source: SparseOcc (Liu et al., 2024), whose code FlashOCC shares; see docs/conventions.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from mmengine.dist import all_reduce
from torch import Tensor

from engine.metrics.confusion import Labels, label_bytes
from engine.metrics.ratios import mean_of_defined, null_if_nan, percent, pluralize, ratio
from engine.metrics.ray_cast import (
    RayEnds,
    VoxelRays,
    cast_rays,
    lidar_directions,
    rays_in_grid,
)
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet

THRESHOLDS_M = (1, 2, 4)
"""A ray is a hit if its depth error is below the threshold."""
MAX_ORIGINS = 8
ORIGIN_RANGE_M = 39.0
_FARTHEST_VOXELS = 300
"""Origins farther outside the grid are rejected as implausible."""


def choose_origins(positions_m: Float[np.ndarray, "F 3"]) -> Float[np.ndarray, "M 3"]:
    """Choose the ray origins of a frame: at most 8 LiDAR positions of its scene.

    Args:
        positions_m: LiDAR positions at all key frames of the scene, in order, in the ego frame of
            the current frame [m].

    Returns:
        Those within 39 m along x and y; 8 evenly spaced ones if there are more.
    """
    near = positions_m[(np.abs(positions_m[:, :2]) < ORIGIN_RANGE_M).all(axis=1)]
    if len(near) <= MAX_ORIGINS:
        return near
    return near[np.round(np.linspace(0, len(near) - 1, MAX_ORIGINS)).astype(np.int64)]


class RayCounts:
    """Counts of rays over many frames.

    Attributes:
        labeled: Scored rays that end at each label in the ground truth; int64 on the CPU.
        predicted: The same rays, counted by the label they end at in the prediction.
        hits: Rays with the same label in both whose depths agree, for each of ``THRESHOLDS_M``.
        frames: Number of frames counted.
        free_label: Label of free voxels.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        free_label: int = FREE,
        ignore_label: int = IGNORE,
        ignore_invalid: bool = False,
    ) -> None:
        """Start from zero.

        Args:
            num_classes: Number of labels, including free.
            free_label: Label of free voxels.
            ignore_label: Rays that end at this label of the ground truth are not scored.
            ignore_invalid: Ignore rays that end at a label that is not a class; otherwise they are
                an error.
        """
        self.labeled: Int64[Tensor, " C"] = torch.zeros(num_classes, dtype=torch.int64)
        self.predicted: Int64[Tensor, " C"] = torch.zeros_like(self.labeled)
        self.hits: Int64[Tensor, "T C"] = self.labeled.repeat(len(THRESHOLDS_M), 1)
        self.frames = 0
        self.free_label = free_label
        self.ignore_label = ignore_label
        self.ignore_invalid = ignore_invalid

    @property
    def num_classes(self) -> int:
        """Number of labels, including free."""
        return len(self.labeled)

    @property
    def rays(self) -> int:
        """Number of scored rays."""
        return int(self.labeled.sum())

    def update(
        self, pred: Labels, target: Labels, origins_m: Float[Tensor, "M 3"], grid: VoxelGrid
    ) -> None:
        """Count one frame.

        Args:
            pred: Predicted labels (X, Y, Z); the rays are cast on their device.
            target: Ground truth labels (X, Y, Z).
            origins_m: Ray origins in the frame of the grid [m].
            grid: The voxel grid.

        Raises:
            ValueError: If shapes differ, an origin is far outside the grid, or a ray ends at an
                invalid label.
        """
        (counts,) = self.of_frames([pred], [target], origins_m, grid)
        self.merge(counts)

    def of_frames(
        self,
        preds: Sequence[Labels],
        targets: Sequence[Labels],
        origins_m: Float[Tensor, "M 3"],
        grid: VoxelGrid,
    ) -> "list[RayCounts]":
        """Count frames one by one, but cast all of their rays together.

        A GPU casts the rays of several frames about as fast as those of one.

        Args:
            preds: Predicted labels (X, Y, Z) of each frame, on one device.
            targets: Their ground truth.
            origins_m: As for ``update``, for all of them.
            grid: Likewise.

        Returns:
            The counts of each frame; these are unchanged.

        Raises:
            ValueError: Like ``update``.
        """
        device, clamp = preds[0].device, self.ignore_invalid
        guesses = [label_bytes(pred, "prediction") for pred in preds]
        truths = [label_bytes(target, "label", clamp=clamp).to(device) for target in targets]
        for guess, truth in zip(guesses, truths, strict=True):
            _check_shapes(guess, truth, grid)
        check_origins(origins_m, grid)
        rays = rays_in_grid(origins_m.to(device), lidar_directions(), grid)
        frames = torch.arange(len(preds), device=device).repeat_interleave(len(rays.starts))
        rays = VoxelRays(*(points.repeat(len(preds), 1) for points in rays))
        labeled = cast_rays(torch.stack(truths), rays, frames, free_label=self.free_label)
        scored = self._scored(labeled.labels).nonzero()[:, 0]
        rays, frames = VoxelRays(*(points[scored] for points in rays)), frames[scored]
        labeled = _of(labeled, scored)
        found = cast_rays(torch.stack(guesses), rays, frames, free_label=self.free_label)
        self._check_labels(found.labels, "prediction")
        are_of = [frames == frame for frame in range(len(preds))]
        return [self._counted(_of(labeled, are), _of(found, are), grid.voxel_m) for are in are_of]

    def merge(self, other: "RayCounts") -> None:
        """Add the counts of another ``RayCounts``.

        Raises:
            ValueError: If its labels differ.
        """
        mine, theirs = (self.num_classes, self.free_label), (other.num_classes, other.free_label)
        if mine != theirs:
            raise ValueError(
                "cannot merge ray counts with different (num_classes, free_label): "
                f"{mine} and {theirs}"
            )
        self.labeled = self.labeled + other.labeled
        self.predicted = self.predicted + other.predicted
        self.hits = self.hits + other.hits
        self.frames += other.frames

    def all_reduce(self) -> None:
        """Sum over all ranks, on every rank; does nothing in a single process."""
        packed = torch.cat(
            [self.labeled, self.predicted, self.hits.flatten(), torch.tensor([self.frames])]
        )
        all_reduce(packed)
        classes = self.num_classes
        self.labeled, self.predicted = packed[:classes], packed[classes : 2 * classes]
        self.hits = packed[2 * classes : -1].reshape(self.hits.shape)
        self.frames = int(packed[-1])

    def _scored(self, labels: UInt8[Tensor, " R"]) -> Tensor:
        """Return which rays are scored, by the label they end at in the ground truth."""
        is_scored = (labels != self.free_label) & (labels != self.ignore_label)
        if self.ignore_invalid:
            return is_scored & (labels < self.num_classes)
        self._check_labels(labels[is_scored], "label")
        return is_scored

    def _check_labels(self, labels: UInt8[Tensor, " R"], what: str) -> None:
        invalid = labels[labels >= self.num_classes]
        if len(invalid):
            raise ValueError(
                f"the {what} of {len(invalid)} scored rays is {invalid.unique().tolist()}; "
                f"expected 0–{self.num_classes - 1}"
            )

    def _counted(self, truth: RayEnds, found: RayEnds, voxel_m: float) -> "RayCounts":
        """Count a frame's scored rays; depths in single precision, as in other codebases."""
        labeled, predicted = truth.labels.long(), found.labels.long()
        error_m = (found.depths * voxel_m - truth.depths * voxel_m).abs()
        is_same = labeled == predicted
        hits = [self._histogram(labeled[is_same & (error_m < limit)]) for limit in THRESHOLDS_M]
        counts = RayCounts(self.num_classes, free_label=self.free_label)
        counts.labeled, counts.predicted = self._histogram(labeled), self._histogram(predicted)
        counts.hits, counts.frames = torch.stack(hits), 1
        return counts

    def _histogram(self, labels: Int64[Tensor, " R"]) -> Int64[Tensor, " C"]:
        return torch.bincount(labels, minlength=self.num_classes).cpu()


def _of(ends: RayEnds, chosen: Bool[Tensor, " R"] | Int64[Tensor, " K"]) -> RayEnds:
    """Return the ends of some rays, by a mask or by index."""
    return RayEnds(*(values[chosen] for values in ends))


@dataclass(frozen=True)
class RayScores:
    """RayIoU as fractions 0–1; NaN if undefined.

    Attributes:
        rayiou: Mean over the thresholds and the classes with a defined IoU.
        rayiou_at: Mean over the same classes for each threshold [m].
        per_class: Mean over the thresholds for each class, by name.
        per_class_at: IoU of each class for each threshold [m].
        frames: Number of scored frames.
        rays: Number of scored rays.
    """

    rayiou: float
    rayiou_at: dict[int, float]
    per_class: dict[str, float]
    per_class_at: dict[int, dict[str, float]]
    frames: int
    rays: int

    def to_json(self) -> dict[str, Any]:
        """Return the scores by key, as fractions 0–1; None if undefined."""
        found: dict[str, Any] = {"rayiou": null_if_nan(self.rayiou)}
        found |= {f"rayiou@{at}": null_if_nan(value) for at, value in self.rayiou_at.items()}
        found["per_class_rayiou"] = _nulls(self.per_class)
        for at, values in self.per_class_at.items():
            found[f"per_class_rayiou@{at}"] = _nulls(values)
        return found | {"rays": self.rays, "frames": self.frames}

    def table(self, grid: str = "") -> str:
        """Format the scores for a terminal: percent, one class per line, with a caption.

        Args:
            grid: Description of the grid for the caption.
        """
        titles = ("RayIoU", *(f"@{at} m" for at in self.rayiou_at))
        rows = [
            (name, (mean, *(values[name] for values in self.per_class_at.values())))
            for name, mean in self.per_class.items()
        ]
        width = max(len(name) for name in ("mean", *self.per_class))
        rule = "-" * (width + 10 * len(titles))
        lines = [" " * width + "".join(f"{title:>10}" for title in titles), rule]
        lines += [_row(name, width, values) for name, values in rows]
        lines += [rule, _row("mean", width, (self.rayiou, *self.rayiou_at.values())), rule]
        where = f"; grid {grid}" if grid else ""
        rays, frames = pluralize(self.rays, "ray"), pluralize(self.frames, "frame")
        return "\n".join(
            [
                *lines,
                f"Percent; {rays} of {frames}{where}.",
                "RayIoU as in SparseOcc: over all rays that hit a labeled voxel, without a mask.",
                "A ray is a hit if its first occupied voxel has the label's class and a depth "
                "error below 1, 2 or 4 m.",
                "A class in neither label nor prediction is left out of the mean.",
            ]
        )


def ray_scores(counts: RayCounts, labels: LabelSet) -> RayScores:
    """Compute scores from pooled counts.

    Args:
        counts: Counts over all frames and ranks.
        labels: Names of the classes, one per label.

    Raises:
        ValueError: If the number of classes differs from the label set's.
    """
    if labels.num_classes != counts.num_classes:
        raise ValueError(
            f"the counts are over {counts.num_classes} labels, but '{labels.name}' has "
            f"{labels.num_classes}"
        )
    unions = (counts.labeled + counts.predicted - counts.hits).tolist()
    classes = {
        name: label
        for label, name in enumerate(labels.class_names)
        if label not in (counts.free_label, counts.ignore_label)
    }
    per_class_at = {
        at: {name: ratio(int(hits[label]), union[label]) for name, label in classes.items()}
        for at, hits, union in zip(THRESHOLDS_M, counts.hits, unions, strict=True)
    }
    per_class = {
        name: mean_of_defined(values[name] for values in per_class_at.values()) for name in classes
    }
    return RayScores(
        rayiou=mean_of_defined(per_class.values()),
        rayiou_at={at: mean_of_defined(values.values()) for at, values in per_class_at.items()},
        per_class=per_class,
        per_class_at=per_class_at,
        frames=counts.frames,
        rays=counts.rays,
    )


def check_origins(origins_m: Float[Tensor, "M 3"], grid: VoxelGrid) -> None:
    """Check that ray origins are plausible LiDAR positions in the frame of the grid.

    Raises:
        ValueError: If there are none, or one is not finite or far outside the grid.
    """
    if not len(origins_m):
        raise ValueError("expected at least one ray origin, got none")
    voxels = grid.voxel_from_meters(origins_m.double())
    high = torch.tensor(grid.shape, device=voxels.device) + _FARTHEST_VOXELS
    is_near = ((voxels > -_FARTHEST_VOXELS) & (voxels < high)).all(-1)
    if not is_near.all():
        x, y, z = origins_m[~is_near][0].tolist()
        raise ValueError(
            f"the ray origin ({x:g}, {y:g}, {z:g}) is far outside the grid, which spans "
            f"{grid.origin_m} to {grid.end_m}; origins must be in its frame, in meters"
        )


def _check_shapes(pred: Tensor, target: Tensor, grid: VoxelGrid) -> None:
    for what, labels in (("prediction", pred), ("label", target)):
        if tuple(labels.shape) != tuple(grid.shape):
            raise ValueError(
                f"the {what} must have the shape of the grid, {grid.shape}, got "
                f"{tuple(labels.shape)}"
            )


def _nulls(values: dict[str, float]) -> dict[str, float | None]:
    return {name: null_if_nan(value) for name, value in values.items()}


def _row(name: str, width: int, values: tuple[float, ...]) -> str:
    return f"{name:<{width}}" + "".join(f"{percent(value):>10}" for value in values)
