"""Evaluation on the occupancy benchmarks of nuScenes."""

import argparse
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from mmengine.config import Config

from dataset.nuscenes.dataset import NuScenes
from dataset.nuscenes.labels import swap_free_and_others
from dataset.occupancy_files import write_archive, write_prediction
from dataset.sample import Batch
from dataset.transforms import coarsen_occupancy
from engine.build.build import build_dataset, build_grid, input_fields, sensors_of
from engine.evaluation.benchmark_frames import BenchmarkFrames
from engine.evaluation.evaluator import Evaluation
from engine.evaluation.label_grid_network import GridPrediction, LabelGridNetwork
from engine.evaluation.nuscenes_grids import EvaluatedGrid
from engine.evaluation.nuscenes_options import OCC3D, BenchmarkOptions, benchmark_options
from engine.evaluation.occupancy_metric import FramePrediction, OccupancyMetric, pool
from engine.metrics.occupancy import OccupancyScores
from engine.metrics.ray_iou import RayCounts, RayScores, choose_origins, ray_scores
from model.unsocc import UnsOcc
from utils.labels import FREE, IGNORE, NUSCENES

logger = logging.getLogger(__name__)


class BenchmarkMetric(OccupancyMetric):
    """Occupancy scores, and features for nuScenes: RayIoU, and predictions in Occ3D's format.

    Attributes:
        rays: RayIoU of the last evaluation; None if not requested.
    """

    def __init__(
        self,
        frames: BenchmarkFrames,
        options: BenchmarkOptions,
        convention: str,
        save_pred: Path | None = None,
    ) -> None:
        """Check the options before any frame is predicted.

        Args:
            frames: The frames to score.
            options: How to score them.
            convention: Name of the convention for means.
            save_pred: Output folder for predictions, ``TOKEN.npy``; None writes nothing.
        """
        super().__init__(options.evaluated.labels, convention)
        assert isinstance(frames.labels, NuScenes), "by nuscenes_evaluation"
        self._frames, self._labels = frames, frames.labels
        self._options, self._save_pred = options, save_pred
        self.rays: RayScores | None = None
        self._ray_counts: dict[str, RayCounts] = {}

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count and save the frames of a batch.

        Args:
            data_batch: The batch from the data loader, with labels on the benchmark's grid.
            data_samples: Predictions on the same grid.
        """
        factor = self._options.evaluated.factor
        super().process(*coarsen_batch(data_batch, data_samples, factor))
        for prediction, scene in zip(data_samples, data_batch.scenes, strict=True):
            occupancy = coarsen_occupancy(prediction.occupancy.cpu().numpy(), factor)
            if self._save_pred is not None:
                write_prediction(self._save_pred, prediction.stem, occupancy)
            if self._options.save_sem is not None:
                write_occ3d(self._options.save_sem / scene / prediction.stem, occupancy)
            if self._options.ray_iou:
                self._ray_counts[prediction.stem] = self._count_rays(prediction)

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames since the last evaluation, and reset."""
        metrics = super().evaluate(size)
        if self._options.ray_iou:
            counts, self._ray_counts = self._ray_counts, {}
            self.rays = ray_scores(pool(counts, self._empty_rays()), self.labels)
            metrics["rayiou"] = self.rays.rayiou
        return metrics

    @property
    def all_scores(self) -> list[OccupancyScores | RayScores]:
        """All scores of the last evaluation."""
        return [*super().all_scores, *([] if self.rays is None else [self.rays])]

    def _count_rays(self, prediction: FramePrediction) -> RayCounts:
        """Count the rays of one frame against all of its labels, without a mask."""
        index = self._frames.index_of(prediction.stem)
        labels = self._labels.labels(index)
        origins = choose_origins(self._labels.lidar_positions(index))
        counts = self._empty_rays()
        try:
            counts.update(
                prediction.occupancy,
                labels.occupancy,
                torch.from_numpy(origins).float(),
                labels.grid,
            )
        except ValueError as error:
            raise ValueError(f"frame {prediction.stem}: {error}") from error
        return counts

    def _empty_rays(self) -> RayCounts:
        return RayCounts(self.labels.num_classes, ignore_invalid=self.convention.ignore_invalid)


def nuscenes_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Build the evaluation of a network on a nuScenes benchmark.

    Args:
        cfg: A nuScenes config.
        network: The network of the config.
        args: The options of ``add_occupancy_options`` and ``split``.

    Raises:
        FileNotFoundError: If data files or labels are missing.
        ValueError: If the config, an option or the data is invalid.
    """
    options = benchmark_options(args)
    if args.distances:
        raise ValueError("--distances: nuScenes is scored on the whole grid of a benchmark")
    if cfg.labels != NUSCENES.name:
        raise ValueError(
            f"{cfg.filename}: the nuScenes benchmarks need labels='{NUSCENES.name}', got "
            f"'{cfg.labels}'"
        )
    evaluated = options.evaluated
    logger.info(
        "scoring on the labels of %s; choose others with --occ3d or --benchmark",
        evaluated.source.name,
    )
    inputs = build_dataset(
        cfg,
        args.split,
        fields=input_fields(sensors_of(cfg)),
        allow_missing=args.allow_missing,
    )
    assert isinstance(inputs, NuScenes), "by EVALUATIONS"
    frames = _with_labels(inputs, cfg, args.split, evaluated, options.use_mask)
    threshold = options.occupied_threshold
    if threshold is None:
        threshold = network.occupied_threshold
    convention = args.convention or (OCC3D if evaluated.source.name == OCC3D else "default")
    return Evaluation(
        frames,
        LabelGridNetwork(
            network,
            build_grid(cfg),
            evaluated.fine,
            evaluated.labels.num_classes,
            frames.volume_from_label,
            occupied_threshold=threshold,
        ),
        BenchmarkMetric(frames, options, convention, args.save_pred),
        evaluated.describe(),
        {
            "benchmark": evaluated.source.name,
            "use_mask": options.use_mask,
            "voxel_m": evaluated.grid.voxel_m,
            "range_m": [*evaluated.grid.origin_m, *evaluated.grid.end_m],
        },
        args.allow_missing,
    )


def coarsen_batch(
    batch: Batch, predictions: Sequence[FramePrediction], factor: int
) -> tuple[Batch, Sequence[FramePrediction]]:
    """Coarsen labels and predictions.

    Voxels whose label is ignored are ignored in the prediction, too.

    Args:
        batch: Frames with labels.
        predictions: Predictions on the same grid.
        factor: Ratio of the voxel sizes.
    """
    if factor == 1 or batch.occupancy is None:
        return batch, predictions
    targets, coarsened = [], []
    for prediction, target in zip(predictions, batch.occupancy, strict=True):
        labels = target.cpu().numpy()
        scored = np.where(labels == IGNORE, labels, prediction.occupancy.cpu().numpy())
        coarse = coarsen_occupancy(scored, factor)
        coarse = np.where(coarse == IGNORE, np.uint8(FREE), coarse)
        coarsened.append(GridPrediction(prediction.stem, torch.from_numpy(coarse)))
        targets.append(torch.from_numpy(coarsen_occupancy(labels, factor)))
    return replace(batch, occupancy=torch.stack(targets)), coarsened


def write_occ3d(folder: Path, occupancy: UInt8[np.ndarray, "X Y Z"]) -> Path:
    """Write ``labels.npz`` with Occ3D's class ids, atomically.

    Args:
        folder: Output folder; created if needed.
        occupancy: Labels with this project's class ids.
    """
    path = folder / "labels.npz"
    write_archive(path, {"semantics": swap_free_and_others(occupancy)})
    return path


def _with_labels(
    inputs: NuScenes, cfg: Config, split: str, evaluated: EvaluatedGrid, use_mask: bool
) -> BenchmarkFrames:
    """Add labels to the key frames of a split, with inputs and labels each in their own frame."""
    source = evaluated.source
    labels_cfg = deepcopy(cfg)
    if cfg.dataset.get("labels_source", OCC3D) != source.name:
        labels_cfg.dataset.labels_root = None
    labels_cfg.dataset.update(
        labels_source=source.name, frame=source.frame, use_mask=use_mask, num_sweeps=1
    )
    labels_cfg.grid = {
        "origin_m": evaluated.fine.origin_m,
        "voxel_m": evaluated.fine.voxel_m,
        "shape": evaluated.fine.shape,
    }
    labels = build_dataset(labels_cfg, split, fields=("occupancy",), stems=inputs.stems)
    assert isinstance(labels, NuScenes), "by EVALUATIONS"
    return BenchmarkFrames(inputs, labels, partial(_volume_from_label, inputs, source.name))


def _volume_from_label(inputs: NuScenes, benchmark: str, index: int) -> Float64[np.ndarray, "4 4"]:
    return np.linalg.inv(inputs.label_from_volume(index, benchmark))
