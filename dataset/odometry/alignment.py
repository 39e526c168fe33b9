"""Poses of a stretch of frames, refined jointly: each cloud to the surfaces of its neighbors.

Neighbors before and after a frame count alike, and all poses are solved for at once. Nothing looks
for places that were visited before, so slow drift over a whole drive remains.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataset.odometry.surfaces import Surfaces, match

OFFSETS = (1, 2, 4, 8, 13)
"""Distances in frames at which clouds are aligned."""
SIGMAS_M = (0.5, 0.5, 0.2, 0.2, 0.1, 0.1, 0.1)
"""Tolerance of each iteration; the first ones pull in clouds that are far off."""
CONVERGED_M = 5e-4
"""No position moves farther in the last iteration."""
_DAMPING = 1e-3  # Keeps the tracked motion where no surface says otherwise.
_FIXED = 1e9  # Holds the first frame.

Matrices = Float64[np.ndarray, "n 4 4"]


@dataclass(frozen=True)
class Scan:
    """What alignment needs of a cloud.

    Attributes:
        points: Some of its points [m].
        surfaces: Its surfaces.
    """

    points: Float64[np.ndarray, "p 3"]
    surfaces: Surfaces


def aligned(scans: Sequence[Scan], poses: Matrices) -> Matrices:
    """Return refined poses; the first frame stays.

    Args:
        scans: The clouds in time order.
        poses: world_from_lidar of each, off by less than about half a meter from its neighbors.
    """
    poses = poses.copy()
    for sigma_m in SIGMAS_M:
        matrix, right = _normal_equations(scans, poses, sigma_m)
        motions = -np.linalg.solve(matrix, right).reshape(-1, 6)
        poses = poses @ np.stack([small_motion(motion) for motion in motions])
        if sigma_m == SIGMAS_M[-1] and np.abs(motions[:, 3:]).max() < CONVERGED_M:
            break
    return poses


def residual_m(source: Scan, target: Scan, dst_from_src: Float64[np.ndarray, "4 4"]) -> float:
    """Return the median distance of points from the surfaces that they fall on; NaN if on none."""
    residuals = match(source.points, target.surfaces, dst_from_src, SIGMAS_M[-1]).residuals_m
    return float(np.median(np.abs(residuals))) if len(residuals) else float("nan")


def small_motion(motion: Float64[np.ndarray, "6"]) -> Float64[np.ndarray, "4 4"]:
    """Return the transform of a rotation vector [rad] and a translation [m]."""
    angle = np.linalg.norm(motion[:3])
    x, y, z = motion[:3] / max(angle, 1e-300)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    transform = np.eye(4)
    transform[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    transform[:3, 3] = motion[3:]
    return transform


def _normal_equations(
    scans: Sequence[Scan], poses: Matrices, sigma_m: float
) -> tuple[Float64[np.ndarray, "m m"], Float64[np.ndarray, " m"]]:
    size = 6 * len(scans)
    matrix, right = np.eye(size) * _DAMPING, np.zeros(size)
    matrix[:6, :6] += np.eye(6) * _FIXED
    for i, j in _pairs(len(scans)):
        dst_from_src = np.linalg.inv(poses[j]) @ poses[i]
        found = match(scans[i].points, scans[j].surfaces, dst_from_src, sigma_m)
        own = np.r_[6 * i : 6 * i + 6, 6 * j : 6 * j + 6]
        matrix[np.ix_(own, own)] += found.matrix
        right[own] += found.right
    return matrix, right


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    for i in range(count):
        for offset in OFFSETS:
            for j in (i - offset, i + offset):
                if 0 <= j < count:
                    yield i, j
