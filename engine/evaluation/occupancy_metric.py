"""The occupancy metric that mmengine's validation and test loops run."""

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
from utils.labels import LabelSet, label_set
from utils.registry import METRICS

Counts = TypeVar("Counts")

SUMMARY_KEYS = ("iou", "precision", "recall", "miou", "long_tail_miou")


@runtime_checkable
class FramePrediction(Protocol):
    """What the metric reads of a model's prediction for one frame."""

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]


@METRICS.register_module()
class OccupancyMetric(BaseMetric):
    """Pools the counts of all frames on all ranks, each frame once, and divides at the end.

    Counts are kept frame by frame until then, because a distributed sampler may hand a frame to
    two ranks so that all ranks get as many.

    Attributes:
        scores: Scores of the last evaluation, for its table and JSON; None before.
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
            convention: Name of the convention of the means.
            save_pred: Folder that gets each prediction as ``STEM.npy``; None writes nothing.

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
    def found(self) -> list[Any]:
        """All scores of the last evaluation, each with a ``table`` and a ``to_json``."""
        return [] if self.scores is None else [self.scores]

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count the frames of a batch.

        Args:
            data_batch: What the data loader gave, labels included.
            data_samples: The model's predictions for it, in the same order.

        Raises:
            ValueError: If frames have no labels, or the predictions are of other frames.
        """
        stems = [prediction.stem for prediction in data_samples]
        if stems != data_batch.stems:
            raise ValueError(f"predictions of frames {stems} for a batch of {data_batch.stems}")
        if data_batch.occupancy is None:
            raise ValueError(
                f"frames {stems} have no occupancy labels to score; the data set must be built "
                "with 'occupancy' among its fields"
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
        """Scores of this rank's frames together with those of all others.

        Args:
            results: Counts of the frames that are this rank's to add.

        Returns:
            Fractions by name: ``iou``, ``precision``, ``recall``, ``miou``, ``long_tail_miou``
            and ``iou_CLASS``; NaN where undefined. The same on all ranks.
        """
        total = self._empty()
        for counts in results:
            total.merge(counts)
        total.all_reduce()
        self.scores = occupancy_scores(total, self.labels, self.convention.name)
        scores = self.scores.to_json()
        values = {key: scores[key] for key in SUMMARY_KEYS}
        values |= {f"iou_{name}": iou for name, iou in scores["per_class_iou"].items()}
        return {key: math.nan if value is None else value for key, value in values.items()}

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames since the last evaluation, and forget them.

        Args:
            size: Number of frames of the data set.

        Returns:
            What ``compute_metrics`` gives.

        Raises:
            ValueError: If not each frame of the data set was scored.
        """
        counts, self._counts = self._counts, {}
        metrics = self.compute_metrics(counts_to_add(counts))
        frames = self.scores.frames if self.scores else 0
        if frames != size:
            raise ValueError(
                f"{frames} different frames were scored, but the data set has {size}; a score over "
                "some of the frames would mislead"
            )
        return metrics

    def _empty(self) -> Confusion:
        return Confusion(self.labels.num_classes, ignore_invalid=self.convention.ignore_invalid)


def check_score_name(name: str, labels: str | LabelSet) -> None:
    """Refuse to keep weights by what is no score of ``OccupancyMetric``, all of which want to rise.

    Raises:
        ValueError: If it is none, such as a depth error, which wants to fall.
    """
    classes = (labels if isinstance(labels, LabelSet) else label_set(labels)).class_names[1:]
    if name not in (*SUMMARY_KEYS, *(f"iou_{label}" for label in classes)):
        raise ValueError(
            f"runtime.best_metric must be one of {SUMMARY_KEYS}, or iou_CLASS with one of "
            f"{classes}, got '{name}'"
        )


def counts_to_add(counts: Mapping[str, Counts]) -> list[Counts]:
    """Of what this rank counted, frame by frame, the frames that no rank before it has."""
    stems_of_ranks = all_gather_object(list(counts))
    taken = set().union(*stems_of_ranks[: get_rank()])
    return [count for stem, count in counts.items() if stem not in taken]
