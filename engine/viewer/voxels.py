"""Voxel groups of the viewer: one mesh each, with a color for each voxel."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from dataset.occupancy_files import check_labels
from engine.pictures.frame_errors import ERRORS, error_labels
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet

DARKEST = 0.42
"""Light on a voxel that sees no sky."""
SKY_STEPS = 12
"""Reach of the sky light, in voxels."""


class VoxelGroup(NamedTuple):
    """The voxels of one mesh.

    Attributes:
        name: Class or kind of error.
        is_ground: Whether the class is ground; for errors, that of the label if not free.
        centers_m: Centers of the visible voxels [m].
        colors: RGB of each visible voxel, darker if it sees little sky.
        num_voxels: Number of voxels in the group, including hidden ones.
    """

    name: str
    is_ground: bool
    centers_m: Float32[np.ndarray, "V 3"]
    colors: UInt8[np.ndarray, "V 3"]
    num_voxels: int


def class_groups(
    occupancy: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid, labels: LabelSet
) -> list[VoxelGroup]:
    """Group voxels by class; free and ignored voxels are in no group.

    Raises:
        ValueError: If labels and grid differ in shape, or a label is unknown.
    """
    check_labels(occupancy, grid, labels)
    is_ground = np.isin(np.arange(256), labels.ground)
    return list(_groups(occupancy, is_ground[occupancy], grid, labels))


def error_groups(
    prediction: UInt8[np.ndarray, "X Y Z"],
    target: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    labels: LabelSet,
) -> list[VoxelGroup]:
    """Group voxels by kind of error and by ground; ignored voxels are in no group.

    Raises:
        ValueError: If either side does not match the grid in shape, or has an unknown label.
    """
    check_labels(prediction, grid, labels)
    check_labels(target, grid, labels)
    decisive = np.where(target == FREE, prediction, target)
    is_ground = np.isin(decisive, labels.ground)
    return list(_groups(error_labels(prediction, target), is_ground, grid, ERRORS))


def is_exposed(mask: Bool[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels of a mask with at least one of their six neighbors outside it.

    The others can never be seen, whatever else is shown or hidden.
    """
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis, shift in product(range(3), (-1, 1)):
        inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def sky_light(
    is_solid: Bool[np.ndarray, "X Y Z"], voxels: Int64[np.ndarray, "V 3"]
) -> Float32[np.ndarray, " V"]:
    """Return the share of 17 directions in which each voxel sees the sky.

    Only the first ``SKY_STEPS`` voxels can block the view; so shadows are soft and short.

    Args:
        is_solid: Voxels that block the view.
        voxels: Indices of the voxels to light.
    """
    padded = np.pad(is_solid, SKY_STEPS)
    flat, strides = padded.ravel(), np.array(padded.strides)
    start = (voxels + SKY_STEPS) @ strides
    around = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]
    directions = [(0.0, 0.0, 1.0)]
    directions += [(x * slope, y * slope, 1.0) for x, y in around for slope in (0.5, 1)]
    open_sky = np.zeros(len(voxels), dtype=np.float32)
    for direction in directions:
        blocked = np.zeros(len(voxels), dtype=bool)
        for step in range(1, SKY_STEPS + 1):
            blocked |= flat[start + np.trunc(np.multiply(direction, step)).astype(int) @ strides]
        open_sky += ~blocked
    return open_sky / np.float32(len(directions))


def unlabeled_border(
    label: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid
) -> Float32[np.ndarray, "N 3"]:
    """Return the centers [m] of ignored voxels with a labeled one beside them, free or occupied."""
    # What is beyond the grid is no labeled voxel.
    is_ignored = np.pad(label == IGNORE, 1, constant_values=True)
    is_border = is_exposed(is_ignored)[1:-1, 1:-1, 1:-1]
    return grid.meters_from_voxel(np.argwhere(is_border) + 0.5).astype(np.float32)


def _groups(
    kinds: UInt8[np.ndarray, "X Y Z"],
    is_ground: Bool[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    kind_set: LabelSet,
) -> Iterator[VoxelGroup]:
    """Group voxels by kind and by ground; the sky light accounts for all groups together."""
    is_solid = (kinds != FREE) & (kinds != IGNORE)
    for label, ground in product(range(1, kind_set.num_classes), (False, True)):
        members = (kinds == label) & (is_ground == ground)
        num_voxels = int(np.count_nonzero(members))
        if not num_voxels:
            continue
        voxels = np.argwhere(is_exposed(members))
        light = DARKEST + (1 - DARKEST) * np.sqrt(sky_light(is_solid, voxels))
        color = np.asarray(kind_set.colors[label], dtype=np.float32)
        yield VoxelGroup(
            name=kind_set.class_names[label],
            is_ground=ground,
            centers_m=grid.meters_from_voxel(voxels + 0.5).astype(np.float32),
            colors=np.rint(color * light[:, None]).astype(np.uint8),
            num_voxels=num_voxels,
        )
