"""Which parts of a map have moved: decided in each voxel by the evidence in and around it.

A single voxel has little evidence: what drove by hit it once or twice. All voxels with points up to
two voxels away are therefore counted together. Things that move are passed before or after they are
hit, but not in between. Foliage lets rays through at any time, and stays.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from dataset.labeling.evidence import Counts, Evidence
from dataset.labeling.options import LabelOptions

_REACH = 2
"""Voxels on each side that are counted together."""
_ORDERED_RATIO = 0.3
"""Passes before or after per hit that are enough if hits and passes are in order."""
_ORDERED = 0.4
"""They are in order if this share of the passes lies between hits, of what chance would give."""


@dataclass(frozen=True)
class MovedVoxels:
    """Voxels of the evidence whose points have moved.

    Attributes:
        evidence: The evidence that they are voxels of.
        keys: Their keys, sorted.
    """

    evidence: Evidence
    keys: Int64[np.ndarray, " V"]

    def hold(self, points_m: Float32[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
        """Return the points that are in these voxels."""
        key = self.evidence.keys_of(points_m)
        place = np.searchsorted(self.keys, key)
        found = np.zeros(len(key), bool)
        inside = place < len(self.keys)
        found[inside] = self.keys[place[inside]] == key[inside]
        return found


def find_moved(
    points_m: Float32[np.ndarray, "N 3"], evidence: Evidence, options: LabelOptions
) -> MovedVoxels:
    """Find the voxels that were passed too often for what is in them to have stayed there.

    Args:
        points_m: Points of the map that are not on the ground.
        evidence: Hits and passes of the clouds.
        options: How much evidence removal needs.
    """
    keys, first = np.unique(evidence.keys_of(points_m), return_index=True)
    counts = evidence.at(points_m[first])
    around = _Neighborhoods(keys)
    hits = around.sums(counts.hits)
    outside = around.sums(counts.absences_outside)
    is_ordered = around.sums(counts.absences - counts.absences_outside) < _ORDERED * around.sums(
        _inside_by_chance(counts)
    )
    moved = outside >= options.mover_ratio * hits
    moved |= is_ordered & (outside >= _ORDERED_RATIO * options.mover_ratio * hits)
    moved &= outside >= options.mover_passes
    through = counts.absences >= options.through_ratio * counts.hits
    moved |= through & (counts.absences >= options.mover_passes)
    return MovedVoxels(evidence, keys[moved])


def _inside_by_chance(counts: Counts) -> Int64[np.ndarray, " N"]:
    """Return how many absences lie between hits on average if their order is random."""
    hits = counts.hits.astype(np.int64)
    return counts.absences * np.maximum(hits - 1, 0) // (hits + 1)


class _Neighborhoods:
    """Sums over the voxels around each of some voxels.

    Args:
        keys: Keys of the voxels, sorted.
    """

    def __init__(self, keys: Int64[np.ndarray, " V"]) -> None:
        # Keys along z are consecutive: a run of voxels is a range of the sorted keys.
        self._ranges: list[tuple[Int32[np.ndarray, " V"], Int32[np.ndarray, " V"]]] = []
        steps = range(-_REACH, _REACH + 1)
        for offset in (Evidence.key_offset(x, y) for x in steps for y in steps):
            low = np.searchsorted(keys, keys + offset - _REACH).astype(np.int32)
            high = np.searchsorted(keys, keys + offset + _REACH, side="right").astype(np.int32)
            self._ranges.append((low, high))

    def sums(self, values: np.ndarray) -> Int64[np.ndarray, " V"]:
        """Return the sum of the values around each voxel, its own included."""
        total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        found = np.zeros(len(values), np.int64)
        for low, high in self._ranges:
            found += total[high] - total[low]
        return found
