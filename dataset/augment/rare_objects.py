"""Rare objects in the labels of a frame: find them, and place them on free ground of another."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from dataset import layout
from utils.labels import FREE, IGNORE, UNSCENES3D

_MIN_COLUMNS = 2
"""Minimum number of voxel columns of an object."""
_MAX_SIZE_M = 20.0
"""Maximum extent of an object along x and y: larger ones are several, or touch each other."""
_RING = 5
"""Width in voxels of the kernel that finds the ground around an object."""
_MIN_GROUND = 0.5
"""Minimum share of ground in the columns under an object; far from the LiDAR, labels have gaps."""
_MAX_STEP = 3
"""Maximum difference of the ground's height under an object, in voxels."""
_EDGE = 1e-6
"""Share of a voxel that is a rounding error."""
_GROUND = np.isin(np.arange(256), UNSCENES3D.ground)


@dataclass(frozen=True)
class RareObject:
    """An object of a rare class, seen from above one connected group of columns.

    Attributes:
        label: Its class.
        columns: The columns that it covers.
        voxels: Which voxels of the grid are its own.
        ground: Height of the ground around it, as an index along z.
    """

    label: int
    columns: Bool[np.ndarray, "X Y"]
    voxels: Bool[np.ndarray, "X Y Z"]
    ground: int


@dataclass(frozen=True)
class Placement:
    """Where an object is placed in another frame.

    Attributes:
        target_from_source: Rotation about a vertical axis, and a shift along z of whole voxels.
        voxels: The voxels of the label grid that it gets, as rows x, y, z.
    """

    target_from_source: Float64[np.ndarray, "4 4"]
    voxels: Int64[np.ndarray, "N 3"]


def objects_of(
    occupancy: UInt8[np.ndarray, "X Y Z"], label: int, rng: np.random.Generator
) -> Iterator[RareObject]:
    """Yield the objects of a class in a random order.

    Objects that are too small, too large or without ground around them are left out.

    Args:
        occupancy: Labels on the grid of the files.
        label: The class.
        rng: Draws the order.
    """
    is_label = occupancy == label
    count, component = cv2.connectedComponents(is_label.any(axis=2).astype(np.uint8))
    for number in 1 + rng.permutation(count - 1):  # Component 0 is all the other columns.
        columns = component == number
        x, y = np.nonzero(columns)
        extent_m = max(np.ptp(x), np.ptp(y)) * layout.LABEL_GRID.voxel_m
        if len(x) < _MIN_COLUMNS or extent_m > _MAX_SIZE_M:
            continue
        ring = cv2.dilate(columns.astype(np.uint8), np.ones((_RING, _RING), np.uint8)) > 0
        heights = _ground_heights(occupancy[ring & ~columns])
        if len(heights):
            voxels = is_label & columns[..., None]
            yield RareObject(label, columns, voxels, int(np.median(heights)))


def place_object(
    occupancy: UInt8[np.ndarray, "X Y Z"],
    found: RareObject,
    axis_m: Float64[np.ndarray, " 3"],
    angle_deg: float,
) -> Placement | None:
    """Rotate an object about a vertical axis, onto the ground of another frame.

    Args:
        occupancy: Labels of the other frame.
        found: The object.
        axis_m: A position on the axis.
        angle_deg: Counter-clockwise rotation.

    Returns:
        None if the place is outside the grid, is not flat ground, or is taken.
    """
    grid = layout.LABEL_GRID
    turn = _turn(axis_m, angle_deg)
    columns = _turned_columns(found.columns, turn)
    if columns is None:
        return None
    target, source = columns
    ground = _free_ground(occupancy, target)
    if ground is None:
        return None
    rise = ground - found.ground
    row, height = np.nonzero(found.voxels[source[:, 0], source[:, 1]])
    height = height + rise
    if not len(row) or height.min() < 0 or height.max() >= grid.shape[2]:
        return None
    turn[2, 3] = rise * grid.voxel_m
    return Placement(turn, np.column_stack([target[row], height]))


def _turned_columns(
    columns: Bool[np.ndarray, "X Y"], turn: Float64[np.ndarray, "4 4"]
) -> tuple[Int64[np.ndarray, "N 2"], Int64[np.ndarray, "N 2"]] | None:
    """Return the columns that others rotate to, and the source of each; None if off the grid.

    Each takes the column at the source of its center, so that an object gets no holes.
    """
    grid = layout.LABEL_GRID
    origin, voxel_m = np.array(grid.origin_m[:2]), grid.voxel_m
    corners = np.argwhere(columns)[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    turned = (origin + corners.reshape(-1, 2) * voxel_m) @ turn[:2, :2].T + turn[:2, 3]
    low = np.floor((turned.min(axis=0) - origin) / voxel_m + _EDGE).astype(int)
    high = np.ceil((turned.max(axis=0) - origin) / voxel_m - _EDGE).astype(int)
    if (low < 0).any() or (high > grid.shape[:2]).any():
        return None
    target = np.argwhere(np.ones(high - low, bool)) + low
    back = np.linalg.inv(turn)
    centers_m = (origin + (target + 0.5) * voxel_m) @ back[:2, :2].T + back[:2, 3]
    source = np.floor((centers_m - origin) / voxel_m).astype(int)
    inside = ((source >= 0) & (source < grid.shape[:2])).all(axis=1)
    target, source = target[inside], source[inside]
    is_covered = columns[source[:, 0], source[:, 1]]
    return target[is_covered], source[is_covered]


def _free_ground(
    occupancy: UInt8[np.ndarray, "X Y Z"], columns: Int64[np.ndarray, "N 2"]
) -> int | None:
    """Return the height of the ground in some columns; None if it is not flat or not free."""
    if not len(columns):
        return None
    labels = occupancy[columns[:, 0], columns[:, 1]]
    if not (_GROUND[labels] | (labels == FREE) | (labels == IGNORE)).all():
        return None
    heights = _ground_heights(labels)
    if len(heights) < _MIN_GROUND * len(columns) or np.ptp(heights) > _MAX_STEP:
        return None
    return int(np.median(heights))


def _ground_heights(labels: UInt8[np.ndarray, "N Z"]) -> Int64[np.ndarray, " M"]:
    """Return the index of the highest ground voxel of the columns that have one."""
    is_ground = _GROUND[labels]
    has_ground = is_ground.any(axis=1)
    return is_ground.shape[1] - 1 - is_ground[has_ground][:, ::-1].argmax(axis=1)


def _turn(axis_m: Float64[np.ndarray, " 3"], angle_deg: float) -> Float64[np.ndarray, "4 4"]:
    """Return the rotation about the vertical axis through a position."""
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.eye(4)
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    turn[:2, 3] = axis_m[:2] - turn[:2, :2] @ axis_m[:2]
    return turn
