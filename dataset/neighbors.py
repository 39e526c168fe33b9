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

logger = logging.getLogger(__name__)


def neighbors_of(scenes: Sequence[str], times: Sequence[Any], count: int) -> list[list[int]]:
    """Find, for each frame, the nearest other frames of its scene in time order.

    Args:
        scenes: Scene of each frame.
        times: Sort key of each frame that orders a scene by time.
        count: Length of the lists; shorter if a scene has fewer other frames.

    Returns:
        Indices of the other frames, nearest first; of two equally near, the earlier first.

    Raises:
        ValueError: If the count is not positive, or no scene has a second frame.
    """
    if count < 1:
        raise ValueError(f"the number of neighbors must be positive, got {count}")
    frames_of = defaultdict(list)
    for index in sorted(range(len(scenes)), key=times.__getitem__):
        frames_of[scenes[index]].append(index)
    found: list[list[int]] = [[] for _ in scenes]
    for frames in frames_of.values():
        for place, index in enumerate(frames):
            near = range(max(0, place - count), min(len(frames), place + count + 1))
            others = sorted((abs(other - place), other) for other in near if other != place)
            found[index] = [frames[other] for _, other in others[:count]]
    if not any(found):
        raise ValueError(
            f"each of the {len(frames_of)} scenes has only one frame "
            f"({shortlist(sorted(frames_of))}): neighbors need a second frame of the scene in the "
            "same split"
        )
    return found


def warn_of_lone_frames(alone: Sequence[str], count: int) -> None:
    """Warn of frames that nothing but themselves supervises.

    Args:
        alone: Stems of the frames that are the only ones of their scenes.
        count: Number of all frames.
    """
    if alone:
        logger.warning(
            "%d of %d frames are the only ones of their drives (%s); nothing but themselves "
            "supervises them",
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
