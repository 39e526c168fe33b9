"""How right labels are: against clouds that did not make them, and against a known truth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dataset import layout
from utils.labels import FREE, IGNORE

_GRID = layout.LABEL_GRID
_STEP_M = _GRID.voxel_m / 4
_RAYS = 10_000
"""Rays of a cloud that are followed, evenly spaced in the file."""
PARTS = ("ended", "in_occupied", "in_unobserved", "in_free", "followed", "passed_through")


@dataclass
class HeldOutScore:
    """Counts of the points of clouds that did not make the labels.

    Attributes:
        ended: Points in the grid.
        in_occupied: Those in occupied voxels.
        in_unobserved: Those in unobserved voxels.
        in_free: Those in free voxels.
        followed: Rays that were followed.
        passed_through: Those that passed through occupied voxels for more than half a voxel, and
            then through free ones, before the point.
    """

    ended: int = 0
    in_occupied: int = 0
    in_unobserved: int = 0
    in_free: int = 0
    followed: int = 0
    passed_through: int = 0

    def __add__(self, other: "HeldOutScore") -> "HeldOutScore":
        """Add up the counts."""
        return HeldOutScore(*(getattr(self, part) + getattr(other, part) for part in PARTS))


def score_held_out(
    occupancy: UInt8[np.ndarray, "X Y Z"], points: Float32[np.ndarray, "P 3"]
) -> HeldOutScore:
    """Compare labels with the points and rays of a cloud in the frame of the labels.

    Args:
        occupancy: Labels that were made without the cloud.
        points: Points of the cloud, LiDAR frame [m].
    """
    label = labels_at(occupancy, points)
    inside = label >= 0
    ends = label[inside]
    rays = points[inside][:: -(-int(inside.sum()) // _RAYS) or 1]
    return HeldOutScore(
        ended=len(ends),
        in_occupied=int(((ends != FREE) & (ends != IGNORE)).sum()),
        in_unobserved=int((ends == IGNORE).sum()),
        in_free=int((ends == FREE).sum()),
        followed=len(rays),
        passed_through=int(passes_through(occupancy, rays).sum()),
    )


def passes_through(
    occupancy: UInt8[np.ndarray, "X Y Z"], ends: Float32[np.ndarray, "R 3"]
) -> Bool[np.ndarray, " R"]:
    """Return the rays from the origin that cross occupied voxels before they reach their end.

    The surface that a ray ends on does not count: the occupied voxels that are connected to its
    end along the ray. Of others, more than half a voxel must be crossed.
    """
    range_m = np.linalg.norm(ends, axis=1)
    direction = ends / range_m[:, None]
    has_left = np.zeros(len(ends), bool)
    crossed = np.zeros(len(ends), np.float32)
    passed = np.zeros(len(ends), bool)
    going = np.arange(len(ends))
    back = np.float32(_STEP_M / 2)
    while len(going):
        label = labels_at(occupancy, direction[going] * (range_m[going] - back)[:, None])
        is_occupied = (label > FREE) & (label != IGNORE)
        has_left[going] |= label == FREE
        crossed[going] = np.where(is_occupied & has_left[going], crossed[going] + _STEP_M, 0)
        passed[going] |= crossed[going] > _GRID.voxel_m / 2
        back += np.float32(_STEP_M)
        going = going[(range_m[going] > back) & ~passed[going]]
    return passed


def labels_at(
    occupancy: UInt8[np.ndarray, "X Y Z"], points: Float32[np.ndarray, "P 3"]
) -> np.ndarray:
    """Return the label of the voxel of each point; -1 outside the grid."""
    index = np.floor(_GRID.voxel_from_meters(points)).astype(np.int32)
    inside = ((index >= 0) & (index < np.array(_GRID.shape))).all(axis=1)
    found = np.full(len(points), -1, np.int16)
    x, y, z = index[inside].T
    found[inside] = occupancy[x, y, z]
    return found


@dataclass
class TruthScore:
    """Counts of labels compared with a known truth, where both are known.

    Attributes:
        both: Voxels that are occupied in both.
        only_label: Voxels that only the label has occupied.
        only_truth: Voxels that only the truth has occupied.
        same_class: Voxels occupied in both that have the same class.
        stray: Occupied voxels of the label without an occupied one of the truth in the 27 around.
        elevation_cells: Cells with both elevations.
        elevation_m: Sum of their absolute differences [m].
        depth_pixels: Pixels with both depths.
        depth_share: Sum of their absolute differences as shares of the true depth.
    """

    both: int = 0
    only_label: int = 0
    only_truth: int = 0
    same_class: int = 0
    stray: int = 0
    elevation_cells: int = 0
    elevation_m: float = 0.0
    depth_pixels: int = 0
    depth_share: float = 0.0
