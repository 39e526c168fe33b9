"""The occupancy metric as an mmengine ``BaseMetric``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import UInt8
from mmengine.dist import all_gather_object, get_rank
from mmengine.evaluator import BaseMetric
from torch import Tensor

from dataset.occupancy_files import write_prediction
from dataset.sample import Batch
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, find_convention, occupancy_scores
from engine.metrics.ray_iou import RayCounts
from utils.labels import LabelSet, label_set
from utils.registry import METRICS

Counts = TypeVar("Counts", Confusion, RayCounts)

SUMMARY_KEYS = ("iou", "precision", "recall", "miou", "long_tail_miou")


@runtime_checkable
class FramePrediction(Protocol):
    """The part of a prediction for one frame that the metric needs."""

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]


@METRICS.register_module()
class OccupancyMetric(BaseMetric):
    """Pool the counts of all frames on all ranks, each frame once, and divide at the end.

    Counts are stored per frame, because a distributed sampler may pad ranks with repeated frames.

    Attributes:
        scores: Scores of the last evaluation; None before the first.
    """

    default_prefix = ""

    def __init__(
        self,
        labels: str | LabelSet,
        convention: str = "default",
        save_pred: str | Path | None = None,
    ) -> None:
        """Check the options before any frame is predicted.

        Args:
            labels: The label set, or its name.
            convention: Name of the convention for means.
            save_pred: Output folder for predictions, ``STEM.npy``; None writes nothing.

        Raises:
            ValueError: If the label set or the convention is unknown.
        """
        super().__init__()
        self.labels = labels if isinstance(labels, LabelSet) else label_set(labels)
        self.convention = find_convention(convention)
        self.save_pred = None if save_pred is None else Path(save_pred)
        self.scores: OccupancyScores | None = None
        self._counts: dict[str, Confusion] = {}

    @property
    def all_scores(self) -> list[Any]:
        """All scores of the last evaluation, each with a ``table`` and a ``to_json``."""
        return [] if self.scores is None else [self.scores]

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count the frames of a batch.

        Args:
            data_batch: The batch from the data loader, with labels.
            data_samples: The model's predictions, in the same order.

        Raises:
            ValueError: If frames have no labels, or the predictions are of other frames.
        """
        stems = [prediction.stem for prediction in data_samples]
        if stems != data_batch.stems:
            raise ValueError(f"expected predictions of frames {data_batch.stems}, got {stems}")
        if data_batch.occupancy is None:
            raise ValueError(
                f"frames {stems} have no occupancy labels; build the data set with the field "
                "'occupancy'"
            )
        for prediction, target in zip(data_samples, data_batch.occupancy, strict=True):
            counts = self._empty()
            try:
                counts.update(prediction.occupancy, target)
            except ValueError as error:
                raise ValueError(f"frame {prediction.stem}: {error}") from error
            self._counts[prediction.stem] = counts
            if self.save_pred is not None:
                occupancy = prediction.occupancy.cpu().numpy()
                write_prediction(self.save_pred, prediction.stem, occupancy)

    def compute_metrics(self, results: Sequence[Confusion]) -> dict[str, float]:
        """Compute scores over the frames of all ranks.

        Args:
            results: The counts of all frames, in one item.

        Returns:
            Fractions by name: ``iou``, ``precision``, ``recall``, ``miou``, ``long_tail_miou``
            and ``iou_CLASS``; NaN if undefined. The same on all ranks.
        """
        (total,) = results
        self.scores = occupancy_scores(total, self.labels, self.convention.name)
        scores = self.scores.to_json()
        values = {key: scores[key] for key in SUMMARY_KEYS}
        values |= {f"iou_{name}": iou for name, iou in scores["per_class_iou"].items()}
        return {key: math.nan if value is None else value for key, value in values.items()}

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames since the last evaluation, and reset.

        Args:
            size: Number of frames in the data set.

        Returns:
            The result of ``compute_metrics``.

        Raises:
            ValueError: If not every frame of the data set was scored.
        """
        counts, self._counts = self._counts, {}
        metrics = self.compute_metrics([pool(counts, self._empty())])
        frames = self.scores.frames if self.scores else 0
        if frames != size:
            raise ValueError(f"expected scores of all {size} frames of the data set, got {frames}")
        return metrics

    def _empty(self) -> Confusion:
        return Confusion(self.labels.num_classes, ignore_invalid=self.convention.ignore_invalid)


def check_score_name(name: str, labels: str | LabelSet) -> None:
    """Check the name of a score for ``runtime.best_metric``: higher must be better.

    Raises:
        ValueError: If it is not a score of ``OccupancyMetric``, such as a depth error.
    """
    classes = (labels if isinstance(labels, LabelSet) else label_set(labels)).class_names[1:]
    if name not in (*SUMMARY_KEYS, *(f"iou_{label}" for label in classes)):
        raise ValueError(
            f"runtime.best_metric must be one of {SUMMARY_KEYS}, or iou_CLASS with one of "
            f"{classes}, got '{name}'"
        )


def pool(counts: Mapping[str, Counts], total: Counts) -> Counts:
    """Add the counts of the frames of all ranks, each frame once.

    Args:
        counts: This rank's counts by stem; other ranks may have some of these frames, too.
        total: Counts of no frames; the others are added to it.

    Returns:
        ``total``, the same on all ranks.
    """
    stems_of_ranks = all_gather_object(list(counts))
    counted = set().union(*stems_of_ranks[: get_rank()])
    for stem, count in counts.items():
        if stem not in counted:
            total.merge(count)
    total.all_reduce()
    return total
