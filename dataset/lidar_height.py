"""Estimate the height of a LiDAR above the ground from its point clouds.

Networks depend on that height. Where a recording does not state it, the ground ahead of the vehicle
shows it: a plane is fitted to the points there, robust against objects on it (RANSAC).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

AHEAD_M = (4.0, 20.0)
"""Range along x of the ground that is looked at."""
ASIDE_M = 8.0
"""Largest \\|y\\| of the ground that is looked at."""
HEIGHTS_M = (0.3, 6.0)
"""Heights of LiDARs on vehicles; others are not believed."""

_MIN_POINTS = 200
_MAX_POINTS = 3000
_TRIALS = 150
_NEAR_M = 0.12
"""Points this close to the plane are on it."""
_MIN_UP = 0.97
"""Cosine of the largest slope of the ground, 14°."""
_MIN_ON_PLANE = 0.4
"""Share of the points that must be on the plane."""
_MAX_BELOW = 0.1
"""Share of the points that may be below the plane: the ground is the lowest surface."""
_MAX_SPREAD_M = 0.4
"""Largest difference between clouds whose estimates are believed."""


class HeightEstimate(NamedTuple):
    """Height of a LiDAR above the ground, from several clouds.

    Attributes:
        median_m: The estimate.
        lowest_m: Lowest of the clouds.
        highest_m: Highest of the clouds.
    """

    median_m: float
    lowest_m: float
    highest_m: float


def estimate_height(clouds: Sequence[Float[np.ndarray, "_ C"]]) -> HeightEstimate | None:
    """Estimate the height of the LiDAR; None if the clouds show no ground that can be trusted.

    At least half of the clouds must show a plane ahead, at heights that agree.

    Args:
        clouds: Points x, y, z [m] and others; x forward, z up, the LiDAR at the origin.
    """
    found = [height for cloud in clouds if (height := ground_height_m(cloud)) is not None]
    if not found or len(found) < len(clouds) / 2 or max(found) - min(found) > _MAX_SPREAD_M:
        return None
    return HeightEstimate(float(np.median(found)), min(found), max(found))


def ground_height_m(cloud: Float[np.ndarray, "P C"]) -> float | None:
    """Return the height of the origin above the plane of the ground ahead; None without one."""
    x, y, z = cloud[:, :3].T
    is_ahead = (x > AHEAD_M[0]) & (x < AHEAD_M[1]) & (np.abs(y) < ASIDE_M)
    is_ahead &= (z < 0) & (z > -1.5 * HEIGHTS_M[1])
    points = cloud[is_ahead, :3].astype(np.float64)
    if len(points) < _MIN_POINTS:
        return None
    rng = np.random.default_rng(0)
    points = points[rng.permutation(len(points))[:_MAX_POINTS]]
    plane = _best_plane(points, rng)
    if plane is None:
        return None
    above_m = points[:, 2] - points[:, :2] @ plane[:2] - plane[2]
    if (np.abs(above_m) < _NEAR_M).mean() < _MIN_ON_PLANE or (above_m < -0.3).mean() > _MAX_BELOW:
        return None
    height_m = -float(plane[2])
    return height_m if HEIGHTS_M[0] <= height_m <= HEIGHTS_M[1] else None


def _best_plane(
    points: Float64[np.ndarray, "P 3"], rng: np.random.Generator
) -> Float64[np.ndarray, "3"] | None:
    """Fit z = a·x + b·y + c to the plane with the most points; None if it is too steep."""
    corners = points[rng.integers(0, len(points), (_TRIALS, 3))]  # (T, 3 points, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    is_flat = np.abs(normal[:, 2]) > _MIN_UP * np.linalg.norm(normal, axis=1)
    normal, corner = normal[is_flat], corners[is_flat, 0]
    if not len(normal):
        return None
    slopes = -normal[:, :2] / normal[:, 2:]  # (T, 2)
    offsets = corner[:, 2] - (slopes * corner[:, :2]).sum(axis=1)
    above_m = points[:, 2] - slopes @ points[:, :2].T - offsets[:, None]  # (T, P)
    is_on = np.abs(above_m) < _NEAR_M
    chosen = points[is_on[is_on.sum(axis=1).argmax()]]
    columns = np.column_stack([chosen[:, :2], np.ones(len(chosen))])
    plane: Float64[np.ndarray, 3] = np.linalg.lstsq(columns, chosen[:, 2], rcond=None)[0]
    return plane
