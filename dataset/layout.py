"""Facts of the UnScenes3D layout: folder names, the label grids, and how pictures encode metres."""

import numpy as np
from jaxtyping import Bool

from utils.elevation import ElevationGrid
from utils.geometry import VoxelGrid

CALIBS = "calibs"
IMAGES = "images"
CLOUDS = "clouds"
OCCUPANCY = "occ"
ELEVATION = "elevation"
DEPTHS = "depths"
IMAGESETS = "imagesets"
LOCAL_MAPS = "localmap_clouds"
VEHICLE_INFOS = "vehicle_infos"
CAPTIONS = "image_caption"
BOXES = "label_3d"
"""Optional; no task reads it."""

SUFFIXES = {
    CALIBS: ".txt",
    IMAGES: ".jpg",
    CLOUDS: ".bin",
    OCCUPANCY: ".npy",
    ELEVATION: ".png",
    DEPTHS: ".png",
    LOCAL_MAPS: ".bin",
    VEHICLE_INFOS: ".txt",
    CAPTIONS: ".txt",
}
"""Ending of each folder's files; the stem is the frame's time in seconds, as text."""

SCENE_INFO = "scene_info.json"

LABEL_GRID = VoxelGrid(origin_m=(0.0, -38.4, -4.0), voxel_m=0.3, shape=(256, 256, 32))
"""The grid of ``occ/``."""

BACKGROUND_ROW = 0
"""Class of the rows in ``occ/`` that are background: ignored, while a voxel of no row is free."""

DEPTH_UNITS_PER_M = 256.0
"""``depths/`` holds metres times this; 0 is no label."""

ELEVATION_UNITS_PER_M = 256.0
ELEVATION_TOP_M = 1.0
"""``elevation/`` holds (top − z)·units, z in the LiDAR frame; 0 is no point."""
ELEVATION_WRAPPED = 30_000
"""Values above this come from points above the top that wrapped around: no label."""
ELEVATION_X_M = (25.0, 45.48)
ELEVATION_Y_M = (-10.88, 10.88)
"""Region of the points in ``elevation/``; its cells are counted from the near right corner on."""
ELEVATION_CELL_M = 0.1
"""Edge of a cell in the release; an older toolkit made them 0.04 m."""
_EDGE_M = 1e-6
"""What floating point leaves beyond the last cell is no strip that holds points."""
_ELEVATION_CELLS_CM = range(1, 51)
"""Edges that ``elevation_grid`` knows: from 0.59 m on two of them give the same shape."""


def elevation_shape(cell_m: float) -> tuple[int, int]:
    """Rows and columns of an elevation picture: the whole cells that the region has room for.

    The division is rounded as the release's is, to which 20.48 m hold 511 cells of 0.04 m.
    """
    ends = (ELEVATION_X_M, ELEVATION_Y_M)
    rows, columns = (int((high - low) / cell_m) for low, high in ends)
    return rows, columns


def elevation_grid(shape: tuple[int, int]) -> ElevationGrid:
    """Where the cells of an elevation picture lie, by its rows and columns.

    Raises:
        ValueError: If cells of no whole number of centimetres have this shape.
    """
    shapes = {elevation_shape(cm / 100): cm / 100 for cm in _ELEVATION_CELLS_CM}
    if shape not in shapes:
        rows, columns = elevation_shape(ELEVATION_CELL_M)
        raise ValueError(
            f"an elevation map has {rows}×{columns} cells of {ELEVATION_CELL_M} m, or those of "
            f"another whole number of centimetres up to {_ELEVATION_CELLS_CM[-1]} that fit in "
            f"x {ELEVATION_X_M} m, y {ELEVATION_Y_M} m; got {shape[0]}×{shape[1]}"
        )
    corner = (ELEVATION_X_M[0], ELEVATION_Y_M[0])
    return ElevationGrid(corner, shapes[shape], shape)


def mixed_elevation_cells(shape: tuple[int, int]) -> Bool[np.ndarray, "rows cols"]:
    """Cells of an elevation picture that hold points of two places, and so no height of either.

    The release counts the points beyond its last whole cell, in the 8 cm at the far end and the
    6 cm on the left, as in row −1 and column −1: with those of the last row, which is the nearest,
    and of the last column, on the right.

    Raises:
        ValueError: As ``elevation_grid`` does.
    """
    far, left = elevation_grid(shape).far_left_m
    is_mixed = np.zeros(shape, bool)
    is_mixed[-1] = ELEVATION_X_M[1] - far > _EDGE_M
    is_mixed[:, -1] |= ELEVATION_Y_M[1] - left > _EDGE_M
    return is_mixed


def relative_path(folder: str, stem: str) -> str:
    """Path of a frame's file below the data set's root."""
    return f"{folder}/{stem}{SUFFIXES[folder]}"
