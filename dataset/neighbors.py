"""Other frames of a scene: which ones are near a frame, and how their views go side by side."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64

from dataset.sample import NeighborViews
from utils.shortlist import shortlist


def neighbors_of(scenes: Sequence[str], times: Sequence[Any], count: int) -> list[list[int]]:
    """For each frame, the others of its scene that are nearest to it in the order of time.

    Args:
        scenes: Scene of each frame.
        times: Something that sorts the frames of a scene by time.
        count: Length of the lists; they are shorter where a scene has fewer other frames.

    Returns:
        Places of the other frames, the nearest first, and of two as near the earlier.

    Raises:
        ValueError: If the count is not positive, or no scene has a second frame.
    """
    if count < 1:
        raise ValueError(f"the number of neighbours must be positive, got {count}")
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
            f"each of the {len(frames_of)} scenes has one frame only "
            f"({shortlist(sorted(frames_of))}): neighbors need a second frame of the scene in the "
            "same split"
        )
    return found


def stack_views(
    pixel_from_lidar: Sequence[Float64[np.ndarray, "N 4 4"]],
    depth_m: Sequence[Float32[np.ndarray, "N H W"]],
    *,
    count: int,
    cameras: int,
    size: tuple[int, int],
) -> NeighborViews:
    """Put the views of a frame's neighbours side by side.

    Args:
        pixel_from_lidar: Projections of the frame's LiDAR coordinates, neighbour by neighbour.
        depth_m: Depth that each of them measured [m].
        count: Neighbours to give out; those that are not there have no depth.
        cameras: Cameras of each.
        size: Height and width of their pictures.
    """
    projections = np.tile(np.eye(4, dtype=np.float32), (count, cameras, 1, 1))
    depths = np.zeros((count, cameras, *size), np.float32)
    for slot, (matrices, maps) in enumerate(zip(pixel_from_lidar, depth_m, strict=True)):
        projections[slot], depths[slot] = matrices, maps
    return NeighborViews(torch.from_numpy(projections), torch.from_numpy(depths))
