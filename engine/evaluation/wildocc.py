"""Evaluation on WildOcc, the occupancy benchmark of RELLIS-3D."""

import argparse
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from dataset.occupancy_files import write_prediction
from dataset.rellis3d.classes import benchmark_labels
from dataset.rellis3d.dataset import Rellis3D
from dataset.rellis3d.labels import LabelFiles
from dataset.sample import Batch
from engine.build.build import build_dataset, build_grid, input_fields, sensors_of
from engine.evaluation.benchmark_frames import BenchmarkFrames
from engine.evaluation.evaluator import Evaluation
from engine.evaluation.label_grid_network import GridPrediction, LabelGridNetwork
from engine.evaluation.nuscenes_options import WILDOCC, reject_nuscenes_options
from engine.evaluation.occupancy_metric import FramePrediction, OccupancyMetric
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, describe_grid, occupancy_scores
from model.unsocc import UnsOcc
from utils import labels as label_sets
from utils.config import plain
from utils.labels import LabelSet, label_set

_COMPARABLE = "V1"
"""The release that published results are on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceScores:
    """Scores as the published results have them.

    Attributes:
        scores: The scores, in the convention "wildocc".
    """

    scores: OccupancyScores

    def to_json(self) -> dict[str, Any]:
        """Return the scores under the name of the benchmark."""
        return {WILDOCC: self.scores.to_json()}

    def table(self, grid: str = "") -> str:
        """Format the scores for a terminal."""
        return self.scores.table(grid)


class WildOccMetric(OccupancyMetric):
    """Scores in the classes of WildOcc: in a convention of choice, and in that of the benchmark.

    Attributes:
        reference: Scores of the last evaluation in the convention "wildocc".
    """

    def __init__(
        self, predicted: LabelSet, convention: str, save_pred: str | Path | None = None
    ) -> None:
        """Check the options before any frame is predicted.

        Args:
            predicted: Label set of the predictions.
            convention: Name of the convention of ``scores``.
            save_pred: Output folder for predictions, ``STEM.npy``; None writes nothing.
        """
        super().__init__(label_sets.WILDOCC, convention)
        self.reference: ReferenceScores | None = None
        self._predicted, self._folder = predicted, save_pred

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count and save the frames of a batch.

        Args:
            data_batch: The batch from the data loader, with labels of the benchmark.
            data_samples: Predictions on the same grid.
        """
        predictions: list[FramePrediction] = []
        for prediction in data_samples:
            found = benchmark_labels(prediction.occupancy.cpu().numpy(), self._predicted)
            predictions.append(GridPrediction(prediction.stem, torch.from_numpy(found)))
            if self._folder is not None:
                write_prediction(Path(self._folder), prediction.stem, found)
        super().process(data_batch, predictions)

    def compute_metrics(self, results: Sequence[Confusion]) -> dict[str, float]:
        """Compute both kinds of scores over the frames of all ranks."""
        metrics = super().compute_metrics(results)
        (total,) = results
        self.reference = ReferenceScores(occupancy_scores(total, self.labels, WILDOCC))
        return metrics

    @property
    def all_scores(self) -> list[Any]:
        """Both kinds of scores of the last evaluation."""
        return [*super().all_scores, *([] if self.reference is None else [self.reference])]


def wildocc_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Build the evaluation of a network on the grid and in the classes of WildOcc.

    All voxels count, seen by the camera or not.

    Args:
        cfg: A config of RELLIS-3D.
        network: The network of the config.
        args: The options of ``add_occupancy_options`` and ``split``.

    Raises:
        FileNotFoundError: If data files or labels are missing.
        ValueError: If the config, an option or the data is invalid.
    """
    reject_nuscenes_options(args, cfg.dataset.type, allowed=("benchmark",))
    if args.distances or args.ray_iou:
        raise ValueError(
            f"--distances and --ray-iou: leave out --benchmark {WILDOCC}, which is scored on its "
            "whole grid"
        )
    truth = _with_benchmark_labels(cfg, args.split)
    form = truth.label_form
    if form.release != _COMPARABLE:
        logger.warning(
            "the labels are of %s, but published results are on %s: scores are not comparable",
            form.release, _COMPARABLE,
        )  # fmt: skip
    inputs = build_dataset(
        cfg,
        args.split,
        fields=input_fields(sensors_of(cfg)),
        stems=truth.stems,
        allow_missing=args.allow_missing,
    )
    assert isinstance(inputs, Rellis3D), "by EVALUATIONS"
    frames = BenchmarkFrames(inputs, truth)
    grid, source = form.grid_in_lidar(), label_set(cfg.labels)
    return Evaluation(
        frames,
        LabelGridNetwork(
            network,
            build_grid(cfg),
            grid,
            source.num_classes,
            frames.volume_from_label,
            occupied_threshold=network.occupied_threshold,
        ),
        WildOccMetric(source, args.convention or "default", args.save_pred),
        f"of WildOcc {form.release}: {describe_grid(grid)}",
        {
            "benchmark": WILDOCC,
            "release": form.release,
            "voxel_m": grid.voxel_m,
            "range_m": [*grid.origin_m, *grid.end_m],
        },
        args.allow_missing,
    )


def _with_benchmark_labels(cfg: Config, split: str) -> Rellis3D:
    """Build the labeled frames of a split, in the classes and on the grid of the benchmark."""
    labels_cfg = deepcopy(cfg)
    labels_cfg.labels = label_sets.WILDOCC.name
    keys = {field.name for field in fields(LabelFiles)}
    given = {key: value for key, value in plain(cfg.dataset).items() if key in keys}
    grid = LabelFiles(**given).form().grid_in_lidar()
    labels_cfg.grid = {"origin_m": grid.origin_m, "voxel_m": grid.voxel_m, "shape": grid.shape}
    frames = build_dataset(labels_cfg, split, fields=("occupancy",))
    assert isinstance(frames, Rellis3D), "by EVALUATIONS"
    return frames
