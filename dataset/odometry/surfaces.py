"""Flat pieces of a point cloud, and the equations that align another cloud to them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

VOXEL_M = 1.0
"""Points in a voxel of this size form one surface, if they are flat."""
MIN_POINTS = 6
FLATNESS = 0.2
"""Largest ratio of the variance across a surface to the smaller variance along it."""
MIN_WIDTH_M = 0.05
"""Smallest standard deviation along a surface; a single ring of the LiDAR has no normal."""

_OFFSET = 1 << 20  # Makes voxel indices positive, in 21 bits each.

Points = Float64[np.ndarray, "_ 3"]


@dataclass(frozen=True)
class Surfaces:
    """Surfaces of a cloud, one per voxel at most, in the frame of the cloud.

    Attributes:
        keys: Their voxels, increasing.
        centers_m: Mean of their points.
        normals: Unit normals, of either sign.
    """

    keys: Int64[np.ndarray, " s"]
    centers_m: Float64[np.ndarray, "s 3"]
    normals: Float64[np.ndarray, "s 3"]


@dataclass(frozen=True)
class Equations:
    """Linear equations of the small motions of two clouds, first those of the source.

    Attributes:
        matrix: Of the normal equations.
        right: Right-hand side.
        residuals_m: Distance of each matched point from its surface, with sign.
    """

    matrix: Float64[np.ndarray, "12 12"]
    right: Float64[np.ndarray, "12"]
    residuals_m: Float64[np.ndarray, " m"]


def voxel_keys(points: Points, voxel_m: float) -> Int64[np.ndarray, " _"]:
    """Return one number per voxel for each point."""
    x, y, z = np.floor(points / voxel_m).astype(np.int64).T + _OFFSET
    return (x << 42) | (y << 21) | z


def thinned(points: Points, voxel_m: float) -> Bool[np.ndarray, " _"]:
    """Return which points are the first of their voxel."""
    _, first = np.unique(voxel_keys(points, voxel_m), return_index=True)
    is_first = np.zeros(len(points), bool)
    is_first[first] = True
    return is_first


def find_surfaces(points: Points) -> Surfaces:
    """Fit a plane to the points of each voxel, and keep those that are flat and wide enough."""
    if not len(points):
        return Surfaces(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)))
    keys, voxel, counts = np.unique(
        voxel_keys(points, VOXEL_M), return_inverse=True, return_counts=True
    )
    centers = _sums(voxel, points) / counts[:, None]
    offsets = points - centers[voxel]
    products = (offsets[:, :, None] * offsets[:, None, :]).reshape(-1, 9)
    covariances = (_sums(voxel, products) / counts[:, None]).reshape(-1, 3, 3)
    full = counts >= MIN_POINTS
    variances, axes = np.linalg.eigh(covariances[full])
    is_flat = variances[:, 0] < FLATNESS * variances[:, 1]
    is_wide = variances[:, 1] > MIN_WIDTH_M**2
    kept = is_flat & is_wide
    return Surfaces(keys[full][kept], centers[full][kept], axes[kept][:, :, 0])


def match(
    points: Points, surfaces: Surfaces, dst_from_src: Float64[np.ndarray, "4 4"], sigma_m: float
) -> Equations:
    """Match points with the surfaces in whose voxels they fall.

    Args:
        points: Points of the source [m].
        surfaces: Surfaces of the destination.
        dst_from_src: Present transform between them.
        sigma_m: Distance at which a point counts a quarter.

    Returns:
        Equations of both clouds' motions, rotation then translation, each in its own frame.
    """
    moved = points @ dst_from_src[:3, :3].T + dst_from_src[:3, 3]
    if not len(surfaces.keys):
        return Equations(np.zeros((12, 12)), np.zeros(12), np.zeros(0))
    keys = voxel_keys(moved, VOXEL_M)
    place = np.minimum(np.searchsorted(surfaces.keys, keys), len(surfaces.keys) - 1)
    hit = surfaces.keys[place] == keys
    place, moved, own = place[hit], moved[hit], points[hit]
    normals = surfaces.normals[place]
    residuals = ((moved - surfaces.centers_m[place]) * normals).sum(axis=1)
    weights = (sigma_m**2 / (sigma_m**2 + residuals**2)) ** 2  # Geman-McClure.
    turned = normals @ dst_from_src[:3, :3]
    jacobian = np.hstack(
        [np.cross(own, turned), turned, -np.cross(moved, normals), -normals]
    )  # (m, 12)
    weighted = jacobian * weights[:, None]
    return Equations(weighted.T @ jacobian, weighted.T @ residuals, residuals)


def _sums(
    group: Int64[np.ndarray, " _"], values: Float64[np.ndarray, "_ C"]
) -> Float64[np.ndarray, "groups C"]:
    return np.stack([np.bincount(group, column) for column in values.T], axis=1)
