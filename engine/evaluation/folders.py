"""Score folders of saved predictions against folders of labels, without a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from dataset.occupancy_files import SUFFIX, GridForm, match_stems, read_pair
from engine.evaluation.score_inputs import (
    DEPTH_SUFFIXES,
    depth_path,
    read_depth_map,
    read_mask,
    read_origins,
)
from engine.metrics.confusion import Confusion
from engine.metrics.depth import DepthMeter, DepthScores
from engine.metrics.depth_errors import DepthRule
from engine.metrics.occupancy import (
    OccupancyScores,
    describe_grid,
    find_convention,
    occupancy_scores,
)
from engine.metrics.ray_iou import RayCounts, RayScores, check_origins, ray_scores
from utils.geometry import VoxelGrid
from utils.labels import LabelSet


@dataclass(frozen=True)
class RayTask:
    """Ray origins and voxel grid of RayIoU.

    Attributes:
        origins: A file of origins for all frames, or a folder with one ``STEM.npy`` per frame.
        grid: The voxel grid.
        any_shape: Whether frames may have any shape, with the corner and voxel size of ``grid``;
            otherwise they must match ``grid`` or a coarser version of it.
    """

    origins: Path
    grid: VoxelGrid
    any_shape: bool = False

    def grid_of(self, shape: tuple[int, ...]) -> VoxelGrid:
        """Return the grid of a frame.

        Raises:
            ValueError: If ``grid`` does not determine the grid of that shape.
        """
        x, y, z = shape
        if self.any_shape:
            return replace(self.grid, shape=(x, y, z))
        factor = max(self.grid.shape[0] // x, 1)
        if tuple(count * factor for count in shape) == self.grid.shape:
            return self.grid.coarsen(factor)
        raise ValueError(
            f"RayIoU does not know the position of the {'×'.join(map(str, shape))} voxels, which "
            f"do not match {describe_grid(self.grid)} from {self.grid.origin_m}: set --voxel-m and "
            "--corner-m"
        )

    def origins_of(self, stem: str, grid: VoxelGrid) -> Float[Tensor, "M 3"]:
        """Read the ray origins of a frame [m].

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is invalid, or an origin is implausible for the grid.
        """
        path = self.origins / f"{stem}{SUFFIX}" if self.origins.is_dir() else self.origins
        origins = read_origins(path)
        try:
            check_origins(origins, grid)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return origins


@dataclass(frozen=True)
class GridTask:
    """Meaning of the values in label grids, and how to score them.

    Attributes:
        labels: The classes.
        form: How sparse rows become grids.
        free_label: Label of free voxels.
        ignore_label: Label of voxels that are not scored.
        convention: Name of the convention for means.
        voxels: Whether to compute IoU and mIoU.
        masks: Folder with one ``STEM.npy`` per frame that selects the scored voxels; None scores
            all.
        rays: How to compute RayIoU; None skips it.
    """

    labels: LabelSet
    form: GridForm
    free_label: int
    ignore_label: int
    convention: str
    voxels: bool = True
    masks: Path | None = None
    rays: RayTask | None = None

    def mask_of(self, stem: str, shape: tuple[int, ...]) -> Bool[np.ndarray, "X Y Z"] | None:
        """Read the mask of a frame's scored voxels; None for all.

        Raises:
            FileNotFoundError: If the frame has no mask.
            ValueError: If the mask is invalid or its shape differs.
        """
        return None if self.masks is None else read_mask(self.masks / f"{stem}{SUFFIX}", shape)


class GridScores(NamedTuple):
    """Scores of a folder of grids.

    Attributes:
        occupancy: IoU and mIoU, if requested.
        rays: RayIoU, if requested.
        grid: Size of the grids, for captions.
    """

    occupancy: OccupancyScores | None
    rays: RayScores | None
    grid: str


def score_grids(
    pred_dir: Path, gt_dir: Path, task: GridTask, stems: Sequence[str] | None = None
) -> GridScores:
    """Score all frames of two folders of label grids.

    Args:
        pred_dir: Folder of predictions.
        gt_dir: Folder of labels.
        task: What to score.
        stems: Frames to score; None for all.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a file is invalid or contains a label that is not a class.
    """
    ignore_invalid = find_convention(task.convention).ignore_invalid
    classes, ignored = task.labels.num_classes, task.ignore_label
    confusion = Confusion(classes, ignore_label=ignored, ignore_invalid=ignore_invalid)
    rays = RayCounts(
        classes, free_label=task.free_label, ignore_label=ignored, ignore_invalid=ignore_invalid
    )
    shapes = set()
    for stem in tqdm(match_stems(pred_dir, gt_dir, stems), unit="frame", delay=1):
        pred_path, gt_path = pred_dir / f"{stem}{SUFFIX}", gt_dir / f"{stem}{SUFFIX}"
        pred, target = read_pair(pred_path, gt_path, task.form)
        try:
            if task.voxels:
                confusion.update(pred, target, task.mask_of(stem, pred.shape))
            if task.rays is not None:
                grid = task.rays.grid_of(pred.shape)
                rays.update(pred, target, task.rays.origins_of(stem, grid), grid)
        except ValueError as error:
            raise ValueError(f"{pred_path} against {gt_path}: {error}") from error
        shapes.add(pred.shape)
    return GridScores(
        occupancy_scores(confusion, task.labels, task.convention, free_label=task.free_label)
        if task.voxels
        else None,
        None if task.rays is None else ray_scores(rays, task.labels),
        _size_of(shapes),
    )


def score_depth_maps(
    pred_dir: Path, gt_dir: Path, rule: DepthRule, stems: Sequence[str] | None = None
) -> DepthScores:
    """Score all frames of two folders of depth maps.

    Args:
        pred_dir: Folder of predictions.
        gt_dir: Folder of labels.
        rule: Which pixels are valid.
        stems: Frames to score; None for all.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a file is invalid or two shapes differ.
    """
    meter = DepthMeter(rule)
    matched = match_stems(pred_dir, gt_dir, stems, suffixes=DEPTH_SUFFIXES)
    for stem in tqdm(matched, unit="frame", delay=1):
        pred_path, gt_path = depth_path(pred_dir, stem), depth_path(gt_dir, stem)
        pred, target = read_depth_map(pred_path), read_depth_map(gt_path)
        try:
            meter.update(stem, pred, target)
        except ValueError as error:
            raise ValueError(f"{pred_path} against {gt_path}: {error}") from error
    return meter.scores()


def _size_of(shapes: set[tuple[int, ...]]) -> str:
    if len(shapes) > 1:
        return "of several sizes"
    return "×".join(str(count) for shape in shapes for count in shape) + " voxels"
