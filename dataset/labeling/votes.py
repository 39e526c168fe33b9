"""Votes of points on the class of their voxel, and voxels that hold only noise of a neighbor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from dataset import layout
from utils.labels import IGNORE

_GRID = layout.LABEL_GRID
_FEWER, _FAR_FEWER = 2, 10
"""A voxel that holds only noise of its neighbor has this many times fewer points, or far fewer."""


@dataclass(frozen=True)
class Surface:
    """Occupied voxels and their labels; 255 where a class is unknown or points are noise."""

    voxel: Int64[np.ndarray, " V"]
    label: UInt8[np.ndarray, " V"]


def voted(
    voxel: Int64[np.ndarray, " N"],
    label: UInt8[np.ndarray, " N"],
    points: Float32[np.ndarray, "N 3"],
    boundary_m: float,
) -> Surface:
    """Vote on the class of each voxel, and ignore voxels that hold only noise of a neighbor.

    Args:
        voxel: Flat index of the voxel of each point.
        label: Class of each point; 255 if unknown.
        points: The points [m].
        boundary_m: Points this close to the face of a fuller neighbor may be its noise.
    """
    order = np.argsort(voxel * 256 + label, kind="stable")
    pair = (voxel * 256 + label)[order]
    first = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)])
    votes = np.diff(np.append(first, len(pair)))
    owner, vote_label = pair[first] // 256, pair[first] % 256
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]])[: len(owner)])
    if not len(starts):
        return Surface(np.zeros(0, np.int64), np.zeros(0, np.uint8))
    # Points of unknown class lose to any other; the smaller class wins if votes are equal.
    rank = np.where(vote_label == IGNORE, 0, votes * 256 + 255 - vote_label)
    best = np.maximum.reduceat(rank, starts)
    winner = np.where(best > 0, 255 - best % 256, IGNORE).astype(np.uint8)
    count = np.add.reduceat(votes, starts)
    is_noise = _is_noise(owner[starts], count, voxel, points, boundary_m)
    return Surface(owner[starts], np.where(is_noise, IGNORE, winner).astype(np.uint8))


def _is_noise(
    voxel: Int64[np.ndarray, " V"],
    count: Int64[np.ndarray, " V"],
    voxel_of_point: Int64[np.ndarray, " N"],
    points: Float32[np.ndarray, "N 3"],
    boundary_m: float,
) -> Bool[np.ndarray, " V"]:
    """Return voxels whose points all lie at the face of a fuller neighbor, or that have few.

    Both hold noise of the surface in the neighbor.
    """
    grid = np.zeros(np.array(_GRID.shape) + 2, np.int32)
    x, y, z = np.unravel_index(voxel, _GRID.shape)
    grid[x + 1, y + 1, z + 1] = count
    number = np.zeros(int(np.prod(_GRID.shape)), np.int32)
    number[voxel] = np.arange(len(voxel))
    unit = _GRID.voxel_from_meters(points)
    inner = unit - np.floor(unit)
    of_point = number[voxel_of_point]
    is_noise = np.zeros(len(voxel), bool)
    limit = boundary_m / _GRID.voxel_m
    for axis in range(3):
        for side in (-1, 1):
            away = inner[:, axis] if side < 0 else 1 - inner[:, axis]
            beyond = np.bincount(of_point[away > limit], minlength=len(voxel))
            shift = np.eye(3, dtype=int)[axis] * side + 1
            neighbor = grid[x + shift[0], y + shift[1], z + shift[2]]
            is_noise |= (beyond == 0) & (neighbor >= _FEWER * count)
            is_noise |= neighbor >= _FAR_FEWER * count
    return is_noise
