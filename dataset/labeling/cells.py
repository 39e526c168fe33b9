"""The map of a clip: points merged into small cells, each with its mean point and class votes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

_BITS = 19
"""Bits of each coordinate of a cell: 2^19 cells of 0.1 m are 52 km."""
_CLASS_BITS = 5
_MERGE_ROWS = 1 << 20
_SPLIT_M = 0.06
"""Difference in height of two halves of a surface: three times the noise of a LiDAR."""


@dataclass(frozen=True)
class MapPoints:
    """Points of the map.

    Attributes:
        points: Mean of the points in each cell [m].
        count: Number of points in each cell.
        label: Class with the most votes; 0 if no point has one.
    """

    points: Float32[np.ndarray, "M 3"]
    count: Int32[np.ndarray, " M"]
    label: UInt8[np.ndarray, " M"]


class CellMap:
    """Adds clouds and merges their points by cell and class.

    Args:
        cell_m: Edge of a cell [m].
    """

    def __init__(self, cell_m: float) -> None:
        self._cell_m = cell_m
        self._merged = _empty()
        self._pending: list[_Rows] = []
        self._pending_rows = 0

    def add(self, points_m: Float32[np.ndarray, "P 3"], label: UInt8[np.ndarray, " P"]) -> None:
        """Add a cloud; label 0 gives no vote.

        Raises:
            ValueError: If a point is too far from the origin to be stored.
        """
        if not len(points_m):
            return
        index = np.floor(points_m / np.float32(self._cell_m)).astype(np.int64)
        reach = 1 << (_BITS - 1)
        if np.abs(index).max() >= reach:
            raise ValueError(
                f"expected points within {reach * self._cell_m:.0f} m of the start of the clip, "
                f"found one {np.abs(points_m).max():.0f} m away: correct the poses, or enlarge "
                "map_voxel_m"
            )
        center = (index.astype(np.float32) + np.float32(0.5)) * np.float32(self._cell_m)
        key = _packed(index + reach) << _CLASS_BITS | label
        offset = points_m - center
        rows = _merge(_Rows(key, np.ones(len(key), np.int32), offset))
        self._pending.append(rows)
        self._pending_rows += len(rows.key)
        if self._pending_rows > max(_MERGE_ROWS, len(self._merged.key) // 2):
            self._flush()

    def finish(self) -> MapPoints:
        """Return the map, in the order of its cells."""
        self._flush()
        rows = self._merged
        cell = rows.key >> _CLASS_BITS
        starts = _starts(cell)
        if not len(starts):
            return MapPoints(np.zeros((0, 3), np.float32), rows.count, np.zeros(0, np.uint8))
        count = np.add.reduceat(rows.count, starts, dtype=np.int32)
        offset = np.add.reduceat(rows.offset, starts, axis=0) / count[:, None]
        index = _unpacked(cell[starts]) - (1 << (_BITS - 1))
        points = (index.astype(np.float32) + np.float32(0.5)) * np.float32(self._cell_m)
        points += offset.astype(np.float32)
        return _without_splits(cell[starts], MapPoints(points, count, _winners(rows, starts)))

    def _flush(self) -> None:
        if self._pending:
            self._merged = _merge(_joined([self._merged, *self._pending]))
            self._pending, self._pending_rows = [], 0


@dataclass(frozen=True)
class _Rows:
    """Merged points: cell and class as one key, their number, and the sum of their offsets."""

    key: Int64[np.ndarray, " R"]
    count: Int32[np.ndarray, " R"]
    offset: Float32[np.ndarray, "R 3"]


def _empty() -> _Rows:
    return _Rows(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))


def _joined(parts: list[_Rows]) -> _Rows:
    return _Rows(
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.offset for part in parts]),
    )


def _merge(rows: _Rows) -> _Rows:
    """Sort by key and add up rows of the same key, in the order of their addition."""
    order = np.argsort(rows.key, kind="stable")
    key = rows.key[order]
    starts = _starts(key)
    if not len(starts):
        return rows
    count = np.add.reduceat(rows.count[order], starts, dtype=np.int32)
    offset = np.add.reduceat(rows.offset[order], starts, axis=0)
    return _Rows(key[starts], count, offset)


def _winners(rows: _Rows, starts: Int64[np.ndarray, " M"]) -> UInt8[np.ndarray, " M"]:
    """Return the class with the most points of each cell, the smaller one if equal; 0 without."""
    label = (rows.key & ((1 << _CLASS_BITS) - 1)).astype(np.int64)
    # Votes first, then the smaller class; points without a class lose to any other.
    rank = np.where(label > 0, (rows.count.astype(np.int64) << _CLASS_BITS) + 31 - label, 0)
    best = np.maximum.reduceat(rank, starts)
    return np.where(best > 0, 31 - (best & 31), 0).astype(np.uint8)


def _without_splits(cell: Int64[np.ndarray, " M"], found: MapPoints) -> MapPoints:
    """Merge cells on top of each other whose mean points are so close that they are one surface.

    Noise splits level ground that lies on a border between cells in two.
    """
    points, count = found.points, found.count
    is_split = (np.diff(cell) == 1) & (np.diff(points[:, 2]) < _SPLIT_M)
    # Of three in a row, only the lower two are merged.
    is_split[1:] &= ~is_split[:-1]
    lower = np.flatnonzero(is_split)
    upper = lower + 1
    weight = count[[lower, upper]] / (count[lower] + count[upper])  # (2, K)
    points[lower] = points[lower] * weight[0][:, None] + points[upper] * weight[1][:, None]
    label = found.label.copy()
    takes_upper = (count[upper] > count[lower]) & (label[upper] > 0)
    label[lower] = np.where(takes_upper | (label[lower] == 0), label[upper], label[lower])
    count[lower] += count[upper]
    kept = np.ones(len(points), bool)
    kept[upper] = False
    return MapPoints(points[kept], count[kept], label[kept])


def _starts(key: Int64[np.ndarray, " R"]) -> Int64[np.ndarray, " M"]:
    """Return where each run of equal keys starts."""
    return np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])[: len(key)])


def _packed(index: Int64[np.ndarray, "R 3"]) -> Int64[np.ndarray, " R"]:
    return (index[:, 0] << _BITS | index[:, 1]) << _BITS | index[:, 2]


def _unpacked(key: Int64[np.ndarray, " R"]) -> Int64[np.ndarray, "R 3"]:
    mask = (1 << _BITS) - 1
    return np.stack([key >> 2 * _BITS, key >> _BITS & mask, key & mask], axis=1)
