"""A network scored on the occupancy benchmarks of nuScenes."""

import argparse
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from mmengine.config import Config

from dataset.frame_dataset import FrameDataset
from dataset.nuscenes.dataset import NuScenes
from dataset.nuscenes.labels import swap_free_and_others
from dataset.occupancy_files import write_archive, write_prediction
from dataset.sample import Batch, Sample
from dataset.transforms import coarsen_occupancy
from engine.build.build import build_dataset, build_grid, input_fields, sensors_of
from engine.evaluation.evaluator import Evaluation
from engine.evaluation.nuscenes_grids import EvaluatedGrid
from engine.evaluation.nuscenes_network import GridPrediction, LabelGridNetwork
from engine.evaluation.nuscenes_options import OCC3D, BenchmarkOptions, benchmark_options
from engine.evaluation.occupancy_metric import FramePrediction, OccupancyMetric, counts_to_add
from engine.metrics.occupancy import OccupancyScores
from engine.metrics.ray_iou import RayCounts, RayScores, choose_origins, ray_scores
from model.unsocc import UnsOcc
from utils.labels import FREE, IGNORE, NUSCENES

logger = logging.getLogger(__name__)


class BenchmarkFrames(FrameDataset):
    """Key frames as a network reads them, with the labels of a benchmark.

    Args:
        inputs: The key frames, without labels.
        labels: The same ones, whose occupancy lies on the benchmark's voxels.
        benchmark: Its name.

    Attributes:
        stems: Token of each key frame's sample.
        labels: As given.
    """

    def __init__(self, inputs: NuScenes, labels: NuScenes, benchmark: str) -> None:
        assert inputs.stems == labels.stems, "both are of one split"
        self._inputs, self.labels, self._benchmark = inputs, labels, benchmark
        self.stems, self.scenes = inputs.stems, inputs.scenes
        self.grid, self.image_size = labels.grid, inputs.image_size
        self._place = {stem: index for index, stem in enumerate(self.stems)}

    def __len__(self) -> int:
        """Number of key frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one key frame and its labels."""
        return replace(self._inputs[index], occupancy=self.labels[index].occupancy)

    def stems_with(self, field: str) -> list[str]:
        """Stems that have the files of a field of a Sample."""
        return (self.labels if field == "occupancy" else self._inputs).stems_with(field)

    def neighbors(self, count: int) -> list[list[int]]:
        """For each key frame, the key frames of its scene that are nearest in time."""
        return self._inputs.neighbors(count)

    def place(self, stem: str) -> int:
        """Index of a key frame."""
        return self._place[stem]

    def volume_from_label(self, stem: str) -> np.ndarray:
        """From the frame of a key frame's labels to that of the network's volume."""
        return np.linalg.inv(self._inputs.label_from_volume(self.place(stem), self._benchmark))


class BenchmarkMetric(OccupancyMetric):
    """Scores of voxels, and what only nuScenes has: scores of rays, and files in Occ3D's form.

    Attributes:
        rays: Scores of rays of the last evaluation; None where they are not asked for.
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
            frames: What is scored.
            options: How.
            convention: Name of the convention of the means.
            save_pred: Folder that gets each prediction as ``TOKEN.npy``; None writes nothing.
        """
        super().__init__(options.evaluated.labels, convention)
        self._frames, self._options, self._save_pred = frames, options, save_pred
        self.rays: RayScores | None = None
        self._ray_counts: dict[str, RayCounts] = {}

    def process(self, data_batch: Batch, data_samples: Sequence[FramePrediction]) -> None:
        """Count, and write, the frames of a batch.

        Args:
            data_batch: What the data loader gave, with labels on the benchmark's voxels.
            data_samples: Predictions on the same.
        """
        factor = self._options.evaluated.factor
        super().process(*put_together(data_batch, data_samples, factor))
        for prediction, scene in zip(data_samples, data_batch.scenes, strict=True):
            occupancy = coarsen_occupancy(prediction.occupancy.cpu().numpy(), factor)
            if self._save_pred is not None:
                write_prediction(self._save_pred, prediction.stem, occupancy)
            if self._options.save_sem is not None:
                write_occ3d(self._options.save_sem / scene / prediction.stem, occupancy)
            if self._options.ray_iou:
                self._ray_counts[prediction.stem] = self._count_rays(prediction)

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames since the last evaluation, and forget them."""
        metrics = super().evaluate(size)
        if self._options.ray_iou:
            counts, self._ray_counts = self._ray_counts, {}
            total = self._no_rays()
            for count in counts_to_add(counts):
                total.merge(count)
            total.all_reduce()
            self.rays = ray_scores(total, self.labels)
            metrics["rayiou"] = self.rays.rayiou
        return metrics

    @property
    def found(self) -> list[OccupancyScores | RayScores]:
        """All scores of the last evaluation."""
        return [*super().found, *([] if self.rays is None else [self.rays])]

    def _count_rays(self, prediction: FramePrediction) -> RayCounts:
        """Rays of one frame, against all of its labels: no mask."""
        place = self._frames.place(prediction.stem)
        labels = self._frames.labels.labels(place)
        origins = choose_origins(self._frames.labels.lidar_positions(place))
        counts = self._no_rays()
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

    def _no_rays(self) -> RayCounts:
        return RayCounts(self.labels.num_classes, ignore_beyond=self.convention.ignore_beyond)


def nuscenes_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Score a network on a benchmark of nuScenes.

    Args:
        cfg: A config of nuScenes.
        network: Its network.
        args: The options of ``add_occupancy_options`` and ``split``.

    Raises:
        FileNotFoundError: If files or labels are not there.
        ValueError: If the config, an option or the data is at fault.
    """
    options = benchmark_options(args)
    if cfg.labels != NUSCENES.name:
        raise ValueError(
            f"{cfg.filename}: labels is '{cfg.labels}'; the benchmarks of nuScenes are of "
            f"'{NUSCENES.name}'"
        )
    evaluated = options.evaluated
    logger.info(
        "scored on the labels of %s; --occ3d or --benchmark chooses others", evaluated.source.name
    )
    frames = _frames(cfg, args.split, evaluated, options.use_mask)
    convention = args.convention or (OCC3D if evaluated.source.name == OCC3D else "default")
    return Evaluation(
        frames,
        LabelGridNetwork(
            network,
            build_grid(cfg),
            evaluated,
            frames.volume_from_label,
            occupied_from=options.occupied_from,
        ),
        BenchmarkMetric(frames, options, convention, args.save_pred),
        evaluated.describe(),
        {
            "benchmark": evaluated.source.name,
            "use_mask": options.use_mask,
            "voxel_m": evaluated.grid.voxel_m,
            "range_m": [*evaluated.grid.origin_m, *evaluated.grid.end_m],
        },
    )


def put_together(
    batch: Batch, predictions: Sequence[FramePrediction], factor: int
) -> tuple[Batch, Sequence[FramePrediction]]:
    """Labels and predictions in larger voxels.

    A larger voxel is made of what counts: where a label is ignored, so is the prediction.

    Args:
        batch: Frames with labels.
        predictions: Predictions of the same voxels.
        factor: How many of them along each axis make a larger one.
    """
    if factor == 1 or batch.occupancy is None:
        return batch, predictions
    targets, found = [], []
    for prediction, target in zip(predictions, batch.occupancy, strict=True):
        labels = target.cpu().numpy()
        scored = np.where(labels == IGNORE, labels, prediction.occupancy.cpu().numpy())
        coarse = coarsen_occupancy(scored, factor)
        coarse = np.where(coarse == IGNORE, np.uint8(FREE), coarse)
        found.append(GridPrediction(prediction.stem, torch.from_numpy(coarse)))
        targets.append(torch.from_numpy(coarsen_occupancy(labels, factor)))
    return replace(batch, occupancy=torch.stack(targets)), found


def write_occ3d(folder: Path, occupancy: UInt8[np.ndarray, "X Y Z"]) -> Path:
    """Write ``labels.npz`` in Occ3D's numbers; it appears complete or not at all.

    Args:
        folder: Its folder; made if it is not there.
        occupancy: Labels in the project's numbers.
    """
    path = folder / "labels.npz"
    write_archive(path, {"semantics": swap_free_and_others(occupancy)})
    return path


def _frames(cfg: Config, split: str, evaluated: EvaluatedGrid, use_mask: bool) -> BenchmarkFrames:
    """The key frames of a split, and the same ones seen from the labels' frame."""
    inputs = build_dataset(cfg, split, fields=input_fields(sensors_of(cfg)))
    source = evaluated.source
    of_labels = deepcopy(cfg)
    if cfg.dataset.get("labels_source", OCC3D) != source.name:
        of_labels.dataset.labels_root = None
    of_labels.dataset.update(
        labels_source=source.name, frame=source.frame, use_mask=use_mask, num_sweeps=1
    )
    of_labels.grid = {
        "origin_m": evaluated.fine.origin_m,
        "voxel_m": evaluated.fine.voxel_m,
        "shape": evaluated.fine.shape,
    }
    labels = build_dataset(of_labels, split, fields=("occupancy",), stems=inputs.stems)
    assert isinstance(inputs, NuScenes), "EVALUATIONS says so"
    assert isinstance(labels, NuScenes), "EVALUATIONS says so"
    return BenchmarkFrames(inputs, labels, source.name)
