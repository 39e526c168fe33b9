"""Tests whether points are near a point cloud or occupied voxels, and where a label covers them."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, Integer

_REACH = np.stack(np.meshgrid(*[[-1, 0, 1]] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
"""Offsets of the 3×3 columns of cells around a cell."""
_SECTORS, _RINGS = 180, 200
_FEW_IN_SECTOR = 5


def is_near_cloud(
    points: Float32[np.ndarray, "P 3"], cloud: Float32[np.ndarray, "M 3"], radius_m: float
) -> Bool[np.ndarray, " P"]:
    """Return whether each point has a point of the cloud within ``radius_m``.

    Points and cloud are binned into cubes of that edge; only the 27 cubes around a point are
    searched.
    """
    is_near = np.zeros(len(points), bool)
    if len(points) == 0 or len(cloud) == 0:
        return is_near
    low = points.min(axis=0) - radius_m
    cloud = cloud[((cloud >= low) & (cloud <= points.max(axis=0) + radius_m)).all(axis=1)]
    cells = _cells(points, low, radius_m)
    size = cells.max(axis=0) + 3  # A margin, so that no neighbor wraps around to another cell.
    numbers = _numbers(_cells(cloud, low, radius_m), size)
    order = np.argsort(numbers)
    cloud, numbers = cloud[order], numbers[order]
    for x, y in _REACH:
        lowest = _numbers(cells + np.array([x, y, -1]), size)
        first = np.searchsorted(numbers, lowest)
        last = np.searchsorted(numbers, lowest + 3)  # Cells along z are consecutive.
        point, candidate = _pairs(first, last)
        distance2 = ((points[point] - cloud[candidate]) ** 2).sum(axis=1)
        is_near[point[distance2 <= radius_m**2]] = True
    return is_near


def is_near_voxels(
    index: Integer[np.ndarray, "P 3"], voxels: Bool[np.ndarray, "X Y Z"]
) -> Bool[np.ndarray, " P"]:
    """Return whether a set voxel is among the 27 around each index, which must be in the grid."""
    padded = np.pad(voxels, 1)
    number = np.ravel_multi_index(tuple(index.T + 1), padded.shape)
    is_near = np.zeros(len(index), bool)
    for steps in np.ndindex(3, 3, 3):
        offset = np.dot(np.subtract(steps, 1), padded.strides)  # A bool has one byte.
        is_near |= padded.ravel()[number + offset]
    return is_near


def covered(
    points: Float[np.ndarray, "P 3"], label: Float[np.ndarray, "M 3"]
) -> Bool[np.ndarray, " P"]:
    """Return which points a label can cover: those in its sectors and between its distances.

    A label may cover the view of the camera only. Sectors are 2° wide, seen from the LiDAR, and
    distances are rounded to meters. The outermost sectors and meters may be covered in part, so
    that they do not count.
    """
    sector, ring = _polar_cells(label)
    cells = np.bincount(sector * _RINGS + ring, minlength=_SECTORS * _RINGS)
    count = cells.reshape(_SECTORS, _RINGS)
    nearest, farthest = (count > 0).argmax(axis=1), _RINGS - 1 - (count > 0)[:, ::-1].argmax(axis=1)
    is_full = count.sum(axis=1) >= _FEW_IN_SECTOR
    is_inner = is_full & np.roll(is_full, 1) & np.roll(is_full, -1)
    sector, ring = _polar_cells(points)
    return is_inner[sector] & (ring > nearest[sector]) & (ring < farthest[sector])


def _polar_cells(
    points: Float[np.ndarray, "N 3"],
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the sector and the ring of 1 m of each point, seen from the LiDAR."""
    turns = np.arctan2(points[:, 1], points[:, 0]) / np.float32(2 * np.pi)
    sector = np.floor(turns * _SECTORS).astype(np.int64) % _SECTORS
    distance_m = np.hypot(points[:, 0], points[:, 1])
    return sector, np.minimum(distance_m, _RINGS - 1).astype(np.int64)


def _cells(
    points: Float32[np.ndarray, "N 3"], low: Float32[np.ndarray, "3"], edge_m: float
) -> Int64[np.ndarray, "N 3"]:
    """Return the cube of each point; ``low`` is the lower corner of cube 0."""
    return np.floor((points - low) / np.float32(edge_m)).astype(np.int64)


def _numbers(
    cells: Int64[np.ndarray, "N 3"], size: Int64[np.ndarray, "3"]
) -> Int64[np.ndarray, " N"]:
    """Number the cubes, consecutively along z."""
    return (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]


def _pairs(
    first: Int64[np.ndarray, " P"], last: Int64[np.ndarray, " P"]
) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
    """Return all pairs (i, k) with ``first[i] <= k < last[i]``."""
    count = last - first
    point = np.repeat(np.arange(len(first)), count)
    start = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
    return point, start + np.arange(len(point))
