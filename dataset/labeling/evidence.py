"""Evidence of a clip's clouds on a sparse voxel grid: which voxels they hit and passed through.

Voxels are stored in dense tiles, allocated where a ray goes, so that memory grows with the space
that was seen. A cloud counts once per voxel, however many of its points or rays are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

_TILE = 32
"""Voxels along each edge of a tile."""
_TILE_VOXELS = _TILE**3
_KEY_BITS, _KEY_MARGIN = 20, 1 << 10
"""Bits of each coordinate in the key of a voxel, and voxels below the space that have one, too."""
_ARRAYS = ("_seen", "_hits", "_passes", "_absences", "_before_first", "_until_last")
_BIN_DEG = 1.0
"""Directions without a point are found in bins this wide."""
_SAMPLES = 1 << 20
"""Samples on rays per step of the loop."""


@dataclass(frozen=True)
class Counts:
    """Evidence at some voxels; 0 where nothing was seen.

    Attributes:
        hits: Clouds with a point in the voxel.
        passes: Clouds with a ray through it and no point in it.
        absences: Clouds with such a ray, or with no point at all in its direction.
        absences_outside: The absences before the first or after the last of the hits.
    """

    hits: Int32[np.ndarray, " N"]
    passes: Int32[np.ndarray, " N"]
    absences: Int32[np.ndarray, " N"]
    absences_outside: Int32[np.ndarray, " N"]


class Evidence:
    """Hits and passes per voxel, added cloud by cloud in time order.

    Args:
        low_m: Lower corner of the space [m].
        high_m: Upper corner of the space [m]; samples outside are dropped.
        voxel_m: Edge of a voxel [m].
    """

    def __init__(
        self, low_m: Float64[np.ndarray, "3"], high_m: Float64[np.ndarray, "3"], voxel_m: float
    ) -> None:
        self._low = low_m.astype(np.float32)
        self._voxel_m = np.float32(voxel_m)
        tiles = np.ceil((high_m - low_m) / (voxel_m * _TILE)).astype(int)
        self._shape = tuple(int(n) for n in np.maximum(tiles, 1))
        self._slot = np.full(self._shape, -1, np.int32).reshape(-1)
        self._used = 0
        self._cloud = 0
        self._seen = np.zeros(0, np.uint16)  # Number of the last cloud that counted here.
        self._hits = np.zeros(0, np.uint16)
        self._passes = np.zeros(0, np.uint16)
        self._absences = np.zeros(0, np.uint16)
        self._before_first = np.zeros(0, np.uint16)  # Absences before the first hit.
        self._until_last = np.zeros(0, np.uint16)  # Absences before the last hit.

    def add(
        self,
        origin_m: Float32[np.ndarray, "3"],
        hits_m: Float32[np.ndarray, "P 3"],
        rays_m: Float32[np.ndarray, "R 3"],
        silent_m: Float32[np.ndarray, "S 3"],
        margin_m: float,
    ) -> None:
        """Add one cloud.

        Args:
            origin_m: Position of the LiDAR.
            hits_m: Points that count as hits.
            rays_m: Ends of the rays that count as passes.
            silent_m: Ends of rays without a point, which count as absences only.
            margin_m: Passes end this far before the end.
        """
        self._cloud += 1
        voxel = self._fresh(hits_m)
        self._before_first[voxel] = np.where(
            self._hits[voxel] == 0, self._absences[voxel], self._before_first[voxel]
        )
        self._until_last[voxel] = self._absences[voxel]
        self._hits[voxel] += np.uint16(1)  # Once for repeated indices.
        self._seen[voxel] = self._cloud
        for samples in ray_samples(origin_m, rays_m, margin_m, float(self._voxel_m)):
            voxel = self._fresh(samples)
            self._passes[voxel] += np.uint16(1)
            self._absences[voxel] += np.uint16(1)
            self._seen[voxel] = self._cloud
        for samples in ray_samples(origin_m, silent_m, 0.0, float(self._voxel_m)):
            voxel = self._fresh(samples)
            self._absences[voxel] += np.uint16(1)
            self._seen[voxel] = self._cloud

    def at(self, points_m: Float32[np.ndarray, "N 3"]) -> Counts:
        """Return the evidence of the voxels that hold points."""
        tile, local, inside = self._locate(points_m)
        slot = np.full(len(points_m), -1, np.int64)
        slot[inside] = self._slot[tile]
        known = slot >= 0
        flat = slot[known] * _TILE_VOXELS + local[known[inside]]
        before, until, absences = (
            values[flat].astype(np.int32)
            for values in (self._before_first, self._until_last, self._absences)
        )
        found = np.zeros((4, len(points_m)), np.int32)
        found[0, known] = self._hits[flat]
        found[1, known] = self._passes[flat]
        found[2, known] = absences
        found[3, known] = before + absences - until
        return Counts(found[0], found[1], found[2], found[3])

    def keys_of(self, points_m: Float32[np.ndarray, "N 3"]) -> Int64[np.ndarray, " N"]:
        """Return a number of the voxel of each point; it grows by 1 with each voxel along z."""
        x, y, z = np.floor((points_m - self._low) / self._voxel_m).astype(np.int64).T + _KEY_MARGIN
        return (x << 2 * _KEY_BITS) + (y << _KEY_BITS) + z

    @staticmethod
    def key_offset(x: int, y: int) -> int:
        """Return the difference between the keys of voxels that are so many voxels apart."""
        return (x << 2 * _KEY_BITS) + (y << _KEY_BITS)

    def passes_at(self, points_m: Float32[np.ndarray, "N 3"]) -> Int32[np.ndarray, " N"]:
        """Return the passes of the voxels that hold points."""
        tile, local, inside = self._locate(points_m)
        slot = self._slot[tile].astype(np.int64)
        passes = np.zeros(len(slot), np.int32)
        known = slot >= 0
        passes[known] = self._passes[slot[known] * _TILE_VOXELS + local[known]]
        found = np.zeros(len(points_m), np.int32)
        found[inside] = passes
        return found

    def _fresh(self, points_m: Float32[np.ndarray, "N 3"]) -> Int64[np.ndarray, " M"]:
        """Return the voxels of points that this cloud has not counted at yet."""
        tile, local, _ = self._locate(points_m)
        slot = self._slot[tile]
        if (slot < 0).any():
            self._allocate(np.unique(tile[slot < 0]))
            slot = self._slot[tile]
        flat = slot.astype(np.int64) * _TILE_VOXELS + local
        return flat[self._seen[flat] != self._cloud]

    def _locate(
        self, points_m: Float32[np.ndarray, "N 3"]
    ) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " M"], Bool[np.ndarray, " N"]]:
        """Return tile and voxel in it of the points in the space, and which points these are."""
        index = np.floor((points_m - self._low) / self._voxel_m).astype(np.int32)
        tile = index >> 5
        inside = np.ones(len(points_m), bool)
        for axis, size in enumerate(self._shape):
            inside &= (tile[:, axis] >= 0) & (tile[:, axis] < size)
        if not inside.all():
            index, tile = index[inside], tile[inside]
        index &= _TILE - 1
        local = ((index[:, 0] << 5 | index[:, 1]) << 5 | index[:, 2]).astype(np.int64)
        flat = (tile[:, 0] * self._shape[1] + tile[:, 1]) * self._shape[2] + tile[:, 2]
        return flat.astype(np.int64), local, inside

    def _allocate(self, tiles: Int64[np.ndarray, " T"]) -> None:
        self._slot[tiles] = np.arange(self._used, self._used + len(tiles))
        self._used += len(tiles)
        needed = self._used * _TILE_VOXELS
        if needed > len(self._hits):
            size = max(needed, 3 * len(self._hits) // 2 // _TILE_VOXELS * _TILE_VOXELS)
            for name in _ARRAYS:
                grown = np.zeros(size, np.uint16)
                old = getattr(self, name)
                grown[: len(old)] = old
                setattr(self, name, grown)


def ray_samples(
    origin_m: Float32[np.ndarray, "3"],
    ends_m: Float32[np.ndarray, "R 3"],
    margin_m: float,
    step_m: float,
) -> Iterator[Float32[np.ndarray, "S 3"]]:
    """Yield points on rays, one step apart, that end a margin before the end of the ray."""
    ray = ends_m - origin_m
    length = np.sqrt(np.einsum("rk,rk->r", ray, ray))
    steps = np.maximum(np.floor((length - margin_m) / step_m), 0).astype(np.int64)
    direction = ray / np.maximum(length, 1e-6)[:, None]
    ends = np.cumsum(steps)
    first = 0
    while first < len(steps):
        done = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, done + _SAMPLES)), first + 1)
        part = steps[first:last]
        number = np.arange(part.sum()) - np.repeat(ends[first:last] - part - done, part)
        along = (number.astype(np.float32) + np.float32(0.5)) * np.float32(step_m)
        yield origin_m + np.repeat(direction[first:last], part, axis=0) * along[:, None]
        first = last


class SilentDirections:
    """Directions in which a LiDAR finds nothing now, but found something in another cloud.

    Rays into the sky give no point, so that things that moved on against it leave no other
    evidence. Directions in which no cloud of the clip has had a point so far do not count.
    """

    def __init__(self) -> None:
        self._columns, self._rows = round(360 / _BIN_DEG), round(180 / _BIN_DEG)
        self._ever = np.zeros(self._columns * self._rows, bool)

    def find(
        self, points: Float32[np.ndarray, "P 3"], reach_m: float
    ) -> Float32[np.ndarray, "S 3"]:
        """Return the ends of rays in such directions.

        Args:
            points: A whole cloud, LiDAR frame [m].
            reach_m: Length of the rays.
        """
        x, y, z = points.T
        column = np.floor((np.degrees(np.arctan2(y, x)) + 180) / _BIN_DEG).astype(np.int64)
        row = np.floor((np.degrees(np.arctan2(z, np.hypot(x, y))) + 90) / _BIN_DEG)
        now = np.zeros_like(self._ever)
        now[row.astype(np.int64) * self._columns + column % self._columns] = True
        rows, columns = np.divmod(np.flatnonzero(self._ever & ~now), self._columns)
        self._ever |= now
        part = np.array([0.25, 0.75])
        azimuth = np.radians((columns[:, None, None] + part) * _BIN_DEG - 180)
        elevation = np.radians((rows[:, None, None] + part[:, None]) * _BIN_DEG - 90)
        flat = np.cos(elevation)
        up = np.broadcast_to(np.sin(elevation), (len(rows), 2, 2))
        ends = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=-1)
        return (ends.reshape(-1, 3) * reach_m).astype(np.float32)


def thin_rays(
    ends_m: Float32[np.ndarray, "R 3"], voxel_m: float, most: int
) -> Int64[np.ndarray, " K"]:
    """Return the rays that count: the first to end in each voxel, evenly thinned to ``most``."""
    index = np.floor(ends_m / np.float32(voxel_m)).astype(np.int64)
    index -= index.min(axis=0, initial=0)
    key = (index[:, 0] << 42) | (index[:, 1] << 21) | index[:, 2]
    kept = np.sort(np.unique(key, return_index=True)[1])
    return kept[:: -(-len(kept) // most) or 1]
