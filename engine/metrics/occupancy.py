"""Occupancy scores: completion, IoU per class and their means, under a named convention."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from engine.metrics.confusion import Confusion
from engine.metrics.ratios import mean_of_defined, null_if_nan, percent, pluralize, ratio
from utils.geometry import VoxelGrid
from utils.labels import FREE, LabelSet

logger = logging.getLogger(__name__)

NUSCENES_FREE = 17
"""The last of nuScenes' 18 labels means free, even for a network that labels free 0."""


@dataclass(frozen=True)
class Convention:
    """How the mean over classes treats a class without labels.

    Attributes:
        name: Name in configs and on the command line.
        absent: IoU of a class in neither label nor prediction; NaN leaves it out of the mean.
        predicted_only: IoU of a class that is predicted but never labeled.
        ignore_invalid: Whether labels that are not a class are ignored or an error.
        skips_zero: Whether the mean skips label 0, even if another label is free.
        summary: Description for captions.
        warning: Caveat for readers of the scores; "" for none.
        unscored: Names of the classes that are left out of the means.
    """

    name: str
    absent: float
    predicted_only: float
    ignore_invalid: bool
    skips_zero: bool
    summary: str
    warning: str = ""
    unscored: tuple[str, ...] = ()


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            name="default",
            absent=math.nan,
            predicted_only=0.0,
            ignore_invalid=False,
            skips_zero=False,
            summary="a class in neither label nor prediction is left out of the mean, "
            "a class only in the prediction counts as 0",
        ),
        Convention(
            name="ssc",
            absent=0.0,
            predicted_only=0.0,
            ignore_invalid=False,
            skips_zero=False,
            summary="a class without labels counts as 0, predicted or not",
        ),
        Convention(
            name="occ3d",
            absent=math.nan,
            predicted_only=0.0,
            ignore_invalid=True,
            skips_zero=False,
            summary="labels that are not a class are ignored; a class in neither label nor "
            "prediction is left out of the mean, a class only in the prediction counts as 0",
        ),
        Convention(
            name="selfocc",
            absent=1.0,
            predicted_only=1.0,
            ignore_invalid=False,
            skips_zero=True,
            summary="a class without labels counts as 100%, predicted or not; label 0 is left out "
            "of the mean",
            warning="the convention 'selfocc' inflates scores: a class without labels counts as "
            "100%, so an all-free prediction can score well above 0",
        ),
        Convention(
            name="wildocc",
            absent=1.0,
            predicted_only=1.0,
            ignore_invalid=False,
            skips_zero=False,
            summary="a class without labels counts as 100%, predicted or not; 'others' counts as "
            "occupied and is left out of the mean",
            warning="the convention 'wildocc' inflates scores: a class without labels counts as "
            "100%",
            unscored=("others",),
        ),
    )
}


def find_convention(name: str) -> Convention:
    """Look up a convention by name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"unknown convention '{name}'; known: {sorted(CONVENTIONS)}")
    return CONVENTIONS[name]


@dataclass(frozen=True)
class OccupancyScores:
    """Scores as fractions 0–1; NaN if undefined.

    Attributes:
        iou: Intersection over union of occupied voxels, regardless of class.
        precision: Share of the voxels predicted as occupied that are occupied.
        recall: Share of the occupied voxels that are predicted as occupied.
        miou: Mean of ``per_class_iou`` over the classes with a defined IoU.
        long_tail_miou: The same over the label set's long tail; NaN if it has none.
        per_class_iou: IoU of each class in the mean, by name.
        frames: Number of scored frames.
        convention: Name of the convention.
    """

    iou: float
    precision: float
    recall: float
    miou: float
    long_tail_miou: float
    per_class_iou: dict[str, float]
    frames: int
    convention: str

    def to_json(self) -> dict[str, Any]:
        """Return the scores by key, as fractions 0–1; None if undefined."""
        return {
            "iou": null_if_nan(self.iou),
            "precision": null_if_nan(self.precision),
            "recall": null_if_nan(self.recall),
            "miou": null_if_nan(self.miou),
            "long_tail_miou": null_if_nan(self.long_tail_miou),
            "per_class_iou": {k: null_if_nan(v) for k, v in self.per_class_iou.items()},
            "frames": self.frames,
            "convention": self.convention,
        }

    def table(self, grid: str = "") -> str:
        """Format the scores for a terminal: percent, one per line, with a caption.

        Args:
            grid: Description of the grid for the caption, such as from ``describe_grid``.
        """
        completion, means = self._completion(), self._means()
        names = [name for name, _ in (*completion, *self.per_class_iou.items(), *means)]
        width = max(len(name) for name in names)
        rule = "-" * (width + 10)
        lines = []
        for block in (completion, tuple(self.per_class_iou.items()), means):
            lines += [f"{name:<{width}}  {percent(value):>8}" for name, value in block]
            lines.append(rule)
        return "\n".join([*lines, *self._caption(grid)])

    def _completion(self) -> tuple[tuple[str, float], ...]:
        return (("IoU", self.iou), ("precision", self.precision), ("recall", self.recall))

    def _means(self) -> tuple[tuple[str, float], ...]:
        return (("mIoU", self.miou), ("long-tail mIoU", self.long_tail_miou))

    def _caption(self, grid: str) -> list[str]:
        convention = find_convention(self.convention)
        where = f"; grid {grid}" if grid else ""
        lines = [
            f"Percent; {pluralize(self.frames, 'frame')}{where}.",
            f"Convention '{convention.name}': {convention.summary}.",
        ]
        return [*lines, f"Warning: {convention.warning}."] if convention.warning else lines


def occupancy_scores(
    confusion: Confusion,
    labels: LabelSet,
    convention: str = "default",
    *,
    free_label: int = FREE,
) -> OccupancyScores:
    """Compute scores from pooled counts.

    Args:
        confusion: Counts over all frames and ranks.
        labels: Names of the classes, and which of them are common; a set without common classes
            has no long-tail mean.
        convention: A key of ``CONVENTIONS``.
        free_label: Label of free voxels, left out of all means.

    Returns:
        The scores as fractions.

    Raises:
        ValueError: If the convention is unknown, or the number of classes differs from the label
            set's.

    Source: docs/conventions.md lists where each convention comes from.
    """
    rule = find_convention(convention)
    if labels.num_classes != confusion.num_classes:
        raise ValueError(
            f"the counts are over {confusion.num_classes} labels, but '{labels.name}' has "
            f"{labels.num_classes}"
        )
    if not 0 <= free_label < confusion.num_classes:
        raise ValueError(f"the free label must be 0–{confusion.num_classes - 1}, got {free_label}")
    if rule.warning:
        logger.warning(rule.warning)
    scored = [
        label
        for label in scored_classes(confusion, rule, free_label)
        if labels.class_names[label] not in rule.unscored
    ]
    class_iou = {label: _class_iou(confusion.matrix, label, rule) for label in scored}
    long_tail = labels.long_tail if labels.common else ()
    iou, precision, recall = _completion(confusion.matrix, free_label)
    return OccupancyScores(
        iou=iou,
        precision=precision,
        recall=recall,
        miou=mean_of_defined(class_iou.values()),
        long_tail_miou=mean_of_defined(
            class_iou[label] for label in long_tail if label in class_iou
        ),
        per_class_iou={labels.class_names[k]: value for k, value in class_iou.items()},
        frames=confusion.frames,
        convention=convention,
    )


def scored_classes(confusion: Confusion, convention: Convention, free_label: int) -> list[int]:
    """Return the labels in the mean: neither free nor ignored."""
    count = confusion.num_classes
    scored = set(range(count)) - {free_label, confusion.ignore_label}
    if convention.skips_zero:
        scored.discard(0)
        if count == NUSCENES_FREE + 1:
            scored.discard(NUSCENES_FREE)
    return sorted(scored)


def describe_grid(grid: VoxelGrid, label_grid: VoxelGrid | None = None) -> str:
    """Describe the grid for a caption.

    Args:
        grid: The scored grid.
        label_grid: The grid of the released labels, of which ``grid`` may be a coarser version.

    Returns:
        Such as "64×64×8 voxels of 1.2 m (labels coarsened by 4: majority of the labeled voxels)".
    """
    text = f"{'×'.join(map(str, grid.shape))} voxels of {grid.voxel_m:g} m"
    if label_grid is None or grid.origin_m != label_grid.origin_m or grid == label_grid:
        return text
    factor = grid.coarsening_of(label_grid)
    return f"{text} (labels coarsened by {factor}: majority of the labeled voxels)"


def _completion(matrix: Int64[Tensor, "C C"], free_label: int) -> tuple[float, float, float]:
    """Compute IoU, precision and recall of occupied against free."""
    total, free = int(matrix.sum()), int(matrix[free_label, free_label])
    false_occupied = int(matrix[free_label].sum()) - free
    missed = int(matrix[:, free_label].sum()) - free
    hit = total - free - false_occupied - missed
    return (
        ratio(hit, hit + false_occupied + missed),
        ratio(hit, hit + false_occupied),
        ratio(hit, hit + missed),
    )


def _class_iou(matrix: Int64[Tensor, "C C"], label: int, convention: Convention) -> float:
    """Compute the IoU of one class under a convention."""
    hit = int(matrix[label, label])
    labeled, predicted = int(matrix[label].sum()), int(matrix[:, label].sum())
    if labeled == 0:
        return convention.predicted_only if predicted else convention.absent
    return ratio(hit, labeled + predicted - hit)
