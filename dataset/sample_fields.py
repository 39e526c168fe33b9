"""The fields of a Sample from the parts of a frame, with the augmentations of the whole frame."""

from typing import Any

import numpy as np
import torch

from dataset import layout, transforms
from dataset.augment.parts import FrameParts
from dataset.augmentation import Choices


def sample_fields(parts: FrameParts, choices: Choices, *, coarsening: int) -> dict[str, Any]:
    """Augment the parts of a frame, and return them as fields of a Sample.

    Args:
        parts: The parts; those that are None give no field.
        choices: The values drawn for the frame.
        coarsening: Label voxels per voxel of the Sample, along each axis.
    """
    found: dict[str, Any] = {}
    moved = transforms.augmented_from_recorded(choices)
    is_moved = not np.array_equal(moved, np.eye(4))
    if parts.image is not None:
        found["images"] = torch.from_numpy(transforms.input_pixels(parts.image, choices))[None]
    if parts.depth_m is not None:
        found["depth_m"] = torch.from_numpy(parts.depth_m)[None]
    if parts.pixel_from_lidar is not None:
        matrix = transforms.input_projection(parts.pixel_from_lidar, choices)
        found["pixel_from_lidar"] = torch.from_numpy(matrix).float()[None]
    if parts.points is not None:
        cloud = transforms.transform_cloud(moved, parts.points) if is_moved else parts.points
        found["points"] = torch.from_numpy(cloud)
    if parts.occupancy is not None:
        occupancy = parts.occupancy
        if is_moved:
            occupancy = transforms.transform_occupancy(moved, occupancy, layout.LABEL_GRID)
        occupancy = transforms.coarsen_occupancy(occupancy, coarsening)
        found["occupancy"] = torch.from_numpy(occupancy)
    if parts.elevation_m is not None:
        elevation_m = parts.elevation_m
        if is_moved:
            elevation_m = transforms.transform_elevation(moved, elevation_m)
        found["elevation_m"] = torch.from_numpy(elevation_m)
    return found
