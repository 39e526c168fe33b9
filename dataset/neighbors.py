"""Neighbor frames of a scene: find the nearest ones, and stack their views."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64

from dataset.sample import NeighborViews
from utils.shortlist import shortlist

_BLOCK = 32
"""Frames that are compared at once; twice as many each time that none is far enough, because a
vehicle may stand for an hour."""

logger = logging.getLogger(__name__)


def neighbors_of(
    scenes: Sequence[str],
    times: Sequence[Any],
    count: int,
    *,
    positions_m: Float64[np.ndarray, "F 3"] | None = None,
    spacing_m: float = 0.0,
) -> list[list[int]]:
    """Find, for each frame, the nearest other frames of its scene in time order.

    Args:
        scenes: Scene of each frame.
        times: Sort key of each frame that orders a scene by time.
        count: Length of the lists; shorter if a scene has fewer other frames.
        positions_m: Position of each frame, with a spacing.
        spacing_m: Frames nearer than that to the one before, on the way from the frame itself
            back or ahead, are passed over.

    Returns:
        Indices of the other frames, nearest first; of two equally near, the earlier first.

    Raises:
        ValueError: If the count is not positive, or no scene has a second frame at that spacing.
    """
    if count < 1:
        raise ValueError(f"the number of neighbors must be positive, got {count}")
    frames_of = defaultdict(list)
    for index in sorted(range(len(scenes)), key=times.__getitem__):
        frames_of[scenes[index]].append(index)
    found: list[list[int]] = [[] for _ in scenes]
    for frames in frames_of.values():
        for place, index in enumerate(frames):
            sides = [frames[place::-1], frames[place:]]  # Back and ahead, itself first.
            if positions_m is None:
                sides = [side[1 : count + 1] for side in sides]
            else:
                sides = [_spaced(side, positions_m, spacing_m, count) for side in sides]
            ranks = sorted((rank, side) for side in (0, 1) for rank in range(len(sides[side])))
            found[index] = [sides[side][rank] for rank, side in ranks[:count]]
    if not any(found) and positions_m is not None and len(frames_of) < len(scenes):
        raise ValueError(
            f"no frame is {spacing_m:g} m from another one of its scene: neighbors need a smaller "
            "spacing (model.loss.label_free.spacing_m)"
        )
    if not any(found):
        raise ValueError(
            f"each of the {len(frames_of)} scenes has only one frame "
            f"({shortlist(sorted(frames_of))}): neighbors need a second frame of the scene in the "
            "same split"
        )
    return found


def _spaced(
    frames: Sequence[int], positions_m: Float64[np.ndarray, "F 3"], spacing_m: float, count: int
) -> list[int]:
    """Return the first frames that are each far enough from the one before, without the first."""
    kept, place, block = [frames[0]], 1, _BLOCK
    while len(kept) <= count and place < len(frames):
        ahead = list(frames[place : place + block])
        distance_m = np.linalg.norm(positions_m[ahead] - positions_m[kept[-1]], axis=1)
        is_far = distance_m >= spacing_m
        if is_far.any():
            place += int(is_far.argmax())
            kept.append(frames[place])
            place, block = place + 1, _BLOCK
        else:
            place, block = place + len(ahead), 2 * block
    return kept[1:]


def warn_of_lone_frames(alone: Sequence[str], count: int) -> None:
    """Warn of frames that nothing but themselves supervises.

    Args:
        alone: Stems of these frames.
        count: Number of all frames.
    """
    if alone:
        logger.warning(
            "%d of %d frames have no other frame of their drive to learn from (%s): nothing but "
            "themselves supervises them",
            len(alone),
            count,
            shortlist(alone, most=5),
        )


def stack_views(
    pixel_from_lidar: Sequence[Float64[np.ndarray, "N 4 4"]],
    depth_m: Sequence[Float32[np.ndarray, "N H W"]],
    *,
    count: int,
    cameras: int,
    size: tuple[int, int],
) -> NeighborViews:
    """Stack the views of a frame's neighbors.

    Args:
        pixel_from_lidar: Projections from the frame's LiDAR coordinates into each neighbor.
        depth_m: Measured depth of each neighbor [m].
        count: Number of neighbors in the result; missing ones have no depth.
        cameras: Number of cameras of each neighbor.
        size: Height and width of the images.
    """
    projections = np.tile(np.eye(4, dtype=np.float32), (count, cameras, 1, 1))
    depths = np.zeros((count, cameras, *size), np.float32)
    for slot, (matrices, maps) in enumerate(zip(pixel_from_lidar, depth_m, strict=True)):
        projections[slot], depths[slot] = matrices, maps
    return NeighborViews(torch.from_numpy(projections), torch.from_numpy(depths))
