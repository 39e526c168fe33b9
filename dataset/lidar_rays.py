"""LiDAR points as rays, free before the point and occupied at it, and the classes of points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from dataset.class_mapping import DROP, UNKNOWN
from dataset.map_labels import occupancy_rows
from dataset.point_labels import PointLabels
from dataset.sample import LidarRays
from utils.geometry import VoxelGrid
from utils.labels import FREE

_BIN_DEG = 0.5
"""Edge of a bin of directions in which two sweeps are compared."""
_MARGIN_M = 1.0
"""Motion of the points within a sweep, errors of the poses, and roughness of surfaces."""
_STRIDES = np.array([1 << 42, 1 << 21, 1])
"""Turn three voxel indices, each below 2²¹, into one number."""
_HEIGHT_M = 1.7
"""Height of a low LiDAR above the ground; for higher ones, fewer points than could be are gone."""


class Sweep(NamedTuple):
    """Points of one sweep, in the LiDAR frame of the Sample that it supervises.

    Attributes:
        origin_m: Position of the sensor.
        points_m: The points.
        labels: What is known of them; None if nothing is.
    """

    origin_m: Float64[np.ndarray, "3"]
    points_m: Float64[np.ndarray, "P 3"]
    labels: PointLabels | None = None

    def of(self, points: Bool[np.ndarray, " P"]) -> "Sweep":
        """Return the sweep with some of its points only."""
        labels = None if self.labels is None else self.labels.of(points)
        return Sweep(self.origin_m, self.points_m[points], labels)

    def moved(self, dst_from_src: Float64[np.ndarray, "4 4"]) -> "Sweep":
        """Return the sweep in another frame."""
        rotation, shift = dst_from_src[:3, :3], dst_from_src[:3, 3]
        origin_m, points_m = rotation @ self.origin_m + shift, self.points_m @ rotation.T + shift
        return Sweep(origin_m, points_m, self.labels)


def surfaces(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """Return sweeps without the points that are on no surface, or no longer there.

    Labels say what is no surface. Gone from the points of other sweeps is what the frame's own
    sweep sees through, and what moves according to its label.

    Args:
        sweeps: The frame's own sweep first; then those of other frames.
    """
    kept: list[Sweep] = []
    for sweep in sweeps:
        is_gone = np.zeros(len(sweep.points_m), bool)
        if sweep.labels is not None:
            is_gone |= sweep.labels.classes == DROP
        if kept:
            is_gone |= seen_through(kept[0], sweep.points_m)
        if kept and sweep.labels is not None:
            is_gone |= sweep.labels.is_moving
        kept.append(sweep.of(~is_gone))
    return kept


def lidar_rays(
    sweeps: Sequence[Sweep],
    grid: VoxelGrid,
    count: int,
    rng: np.random.Generator,
) -> LidarRays:
    """Choose rays from the sweeps around a frame.

    Each voxel with points gets the same share of the rays: otherwise most rays would end on the
    nearest meters of ground.

    Args:
        sweeps: The frame's own sweep first; then those of other frames.
        grid: Voxel grid of the network.
        count: Number of rays; drawn with repetition if there are fewer points.
        rng: Draws the rays.
    """
    ends = np.concatenate([sweep.points_m for sweep in sweeps])
    numbers = [len(sweep.points_m) for sweep in sweeps]
    origins = np.repeat([sweep.origin_m for sweep in sweeps], numbers, axis=0)
    is_own = np.arange(len(ends)) < numbers[0]
    has_point = np.zeros(grid.shape, bool)
    if not len(ends):
        empty = torch.zeros(count, 3)
        no_ray = torch.zeros(count, dtype=torch.bool)
        return LidarRays(empty, empty, no_ray, torch.from_numpy(has_point))
    voxels = np.floor(grid.voxel_from_meters(ends)).astype(np.int64)
    is_inside = ((voxels >= 0) & (voxels < grid.shape)).all(axis=1)
    has_point[tuple(voxels[is_inside].T)] = True
    # Voxels beyond the grid count like those in it: rays that leave it show free space.
    voxels = (voxels - voxels.min(axis=0)) @ _STRIDES
    _, place, in_voxel = np.unique(voxels, return_inverse=True, return_counts=True)
    share = 1.0 / in_voxel[place]
    chosen = rng.choice(len(ends), count, replace=len(ends) < count, p=share / share.sum())
    return LidarRays(
        torch.from_numpy(origins[chosen]).float(),
        torch.from_numpy(ends[chosen]).float(),
        torch.from_numpy(is_own[chosen]),
        torch.from_numpy(has_point),
    )


def voxel_classes(sweeps: Sequence[Sweep], grid: VoxelGrid) -> UInt8[Tensor, "X Y Z"]:
    """Return the class that most labeled points of each voxel have; 0 without such a point.

    Args:
        sweeps: The sweeps; those without labels do not count.
        grid: Voxel grid of the network.
    """
    volume = np.full(grid.shape, FREE, np.uint8)
    labeled = [
        (sweep.points_m, sweep.labels.classes) for sweep in sweeps if sweep.labels is not None
    ]
    if labeled:
        points_m, classes = (np.concatenate(part) for part in zip(*labeled, strict=True))
        is_known = classes != UNKNOWN
        rows = occupancy_rows(points_m[is_known].astype(np.float32), classes[is_known], grid)
        volume[tuple(rows[:, :3].T)] = rows[:, 3]
    return torch.from_numpy(volume)


def seen_through(own: Sweep, points_m: Float64[np.ndarray, "P 3"]) -> Bool[np.ndarray, " P"]:
    """Return which points a sweep sees through: all of its rays in their direction end behind.

    On level ground, the range changes by range² / height per radian, so that two points in the
    same bin of directions can be that far apart.

    Args:
        own: The sweep.
        points_m: Points of another sweep, in the same frame.
    """
    own_range_m, own_bin = _range_and_bin(own.points_m - own.origin_m)
    nearest_m = np.full(_BINS, np.inf)
    np.minimum.at(nearest_m, own_bin, own_range_m)
    range_m, place = _range_and_bin(points_m - own.origin_m)
    margin_m = _MARGIN_M + np.radians(_BIN_DEG) * range_m**2 / _HEIGHT_M
    nearest_m = nearest_m[place]
    return np.isfinite(nearest_m) & (nearest_m > range_m + margin_m)


_ROWS, _COLUMNS = round(180 / _BIN_DEG) + 1, round(360 / _BIN_DEG) + 1
_BINS = _ROWS * _COLUMNS


def _range_and_bin(
    rays_m: Float64[np.ndarray, "P 3"],
) -> tuple[Float64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Return the length of each ray, and the number of its bin of directions."""
    x, y, z = rays_m.T
    level_m = np.hypot(x, y)
    row = (np.degrees(np.arctan2(z, level_m)) + 90.0) // _BIN_DEG
    column = (np.degrees(np.arctan2(y, x)) + 180.0) // _BIN_DEG
    return np.hypot(level_m, z), (row * _COLUMNS + column).astype(np.int64)
