"""How right labels are: against clouds that did not make them, and against a known truth."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dataset import layout
from utils.labels import FREE, IGNORE

_GRID = layout.LABEL_GRID
_STEP_M = _GRID.voxel_m / 4
_RAYS = 10_000
"""Rays of a cloud that are followed, evenly spaced in the file."""
TRUTH_RANGE_M = 50.0
"""Range that is compared with a truth: MineSim's reaches 100 m from the path of the vehicle."""


@dataclass
class HeldOutScore:
    """Counts of the points of clouds that did not make the labels.

    Attributes:
        voxels: Voxels of the grid.
        observed: Those that are occupied or free.
        ended: Points in the grid.
        in_occupied: Those in occupied voxels.
        in_unobserved: Those in unobserved voxels.
        in_free: Those in free voxels.
        followed: Rays that were followed.
        passed_through: Those that passed through occupied voxels for more than half a voxel, and
            then through free ones, before the point.
        passed_deep: Those of them that were more than half a voxel inside of occupied space.
    """

    voxels: int = 0
    observed: int = 0
    ended: int = 0
    in_occupied: int = 0
    in_unobserved: int = 0
    in_free: int = 0
    followed: int = 0
    passed_through: int = 0
    passed_deep: int = 0

    def __add__(self, other: "HeldOutScore") -> "HeldOutScore":
        """Add up the counts."""
        parts = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        return HeldOutScore(*parts)


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
    passed, deep = passes_through(occupancy, rays)
    return HeldOutScore(
        voxels=occupancy.size,
        observed=int((occupancy != IGNORE).sum()),
        ended=len(ends),
        in_occupied=int(((ends != FREE) & (ends != IGNORE)).sum()),
        in_unobserved=int((ends == IGNORE).sum()),
        in_free=int((ends == FREE).sum()),
        followed=len(rays),
        passed_through=int(passed.sum()),
        passed_deep=int(deep.sum()),
    )


def passes_through(
    occupancy: UInt8[np.ndarray, "X Y Z"], ends: Float32[np.ndarray, "R 3"]
) -> tuple[Bool[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Return the rays from the origin that cross occupied voxels before they reach their end.

    The surface that a ray ends on does not count: the occupied voxels that are connected to its
    end along the ray. Of others, more than half a voxel must be crossed. The second result is which
    rays get more than half a voxel away from all free and unobserved space.
    """
    range_m = np.linalg.norm(ends, axis=1)
    direction = ends / range_m[:, None]
    has_left = np.zeros(len(ends), bool)
    crossed = np.zeros(len(ends), np.float32)
    passed = np.zeros(len(ends), bool)
    deep = np.zeros(len(ends), bool)
    going = np.arange(len(ends))
    back = np.float32(_STEP_M / 2)
    while len(going):
        points = direction[going] * (range_m[going] - back)[:, None]
        label = labels_at(occupancy, points)
        is_occupied = (label > FREE) & (label != IGNORE)
        has_left[going] |= label == FREE
        crossed[going] = np.where(is_occupied & has_left[going], crossed[going] + _STEP_M, 0)
        passed[going] |= crossed[going] > _GRID.voxel_m / 2
        inside = np.flatnonzero(is_occupied & has_left[going])
        deep[going[inside]] |= _is_deep(occupancy, points[inside])
        back += np.float32(_STEP_M)
        going = going[range_m[going] > back]
    return passed, deep & passed


def _is_deep(
    occupancy: UInt8[np.ndarray, "X Y Z"], points: Float32[np.ndarray, "P 3"]
) -> Bool[np.ndarray, " P"]:
    """Return the points whose surroundings up to half a voxel along each axis are occupied."""
    deep = np.ones(len(points), bool)
    for axis in range(3):
        for side in (-0.5, 0.5):
            shift = np.zeros(3, np.float32)
            shift[axis] = side * _GRID.voxel_m
            label = labels_at(occupancy, points + shift)
            deep &= (label > FREE) & (label != IGNORE)
    return deep


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
        cells: Cells with both elevations.
        elevation_m: Sum of their absolute differences [m].
        pixels: Pixels with both depths.
        depth_share: Sum of their absolute differences as shares of the true depth.
    """

    both: int = 0
    only_label: int = 0
    only_truth: int = 0
    same_class: int = 0
    stray: int = 0
    cells: int = 0
    elevation_m: float = 0.0
    pixels: int = 0
    depth_share: float = 0.0

    def __add__(self, other: "TruthScore") -> "TruthScore":
        """Add up the counts."""
        parts = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        return TruthScore(*parts)


def score_truth(label: UInt8[np.ndarray, "X Y Z"], truth: UInt8[np.ndarray, "X Y Z"]) -> TruthScore:
    """Compare occupancy with the truth, up to ``TRUTH_RANGE_M`` from the LiDAR.

    Args:
        label: Labels; 255 is unobserved.
        truth: The truth; 255 is unknown.
    """
    x, y = (
        (np.arange(n) + 0.5) * _GRID.voxel_m + low
        for n, low in zip(_GRID.shape[:2], _GRID.origin_m[:2], strict=True)
    )
    near = np.hypot(x[:, None], y) <= TRUTH_RANGE_M
    known = (label != IGNORE) & (truth != IGNORE) & near[..., None]
    labeled, true = (label != FREE) & known, (truth != FREE) & known
    around = truth != FREE
    for axis in range(3):
        around = around | np.roll(around, 1, axis) | np.roll(around, -1, axis)
    both = labeled & true
    return TruthScore(
        both=int(both.sum()),
        only_label=int((labeled & ~true).sum()),
        only_truth=int((true & ~labeled).sum()),
        same_class=int((label == truth)[both].sum()),
        stray=int((labeled & ~around).sum()),
    )


def score_images(
    elevation_m: tuple[Float32[np.ndarray, "rows cols"], Float32[np.ndarray, "rows cols"]],
    depth_m: tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]] | None,
) -> TruthScore:
    """Compare elevation and depth with the truth.

    Args:
        elevation_m: Label and truth; NaN where unknown.
        depth_m: Label and truth; 0 where unknown. None without a camera.
    """
    label, truth = elevation_m
    known = np.isfinite(label) & np.isfinite(truth)
    score = TruthScore(
        cells=int(known.sum()), elevation_m=float(np.abs(label - truth)[known].sum())
    )
    if depth_m is None:
        return score
    label, truth = depth_m
    known = (label > 0) & (truth > 0)
    off = np.abs(label[known] - truth[known]) / truth[known]
    return score + TruthScore(pixels=int(known.sum()), depth_share=float(off.sum()))
