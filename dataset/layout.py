"""The UnScenes3D layout: folder names, label grids, and how images encode meters."""

import numpy as np
from jaxtyping import Bool

from dataset.elevation import ElevationGrid
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
VISIBILITY = "visibility"
"""Optional: ``STEM.npz`` with the masks of ``tools/make_labels.py``. Rows of background that its
``mask_lidar`` leaves out are unobserved."""
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
"""File suffix in each folder; the stem is the frame's time in seconds, as text."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes that images may have, in lower or upper case."""

SCENE_INFO = "scene_info.json"

LIDAR_HEIGHT_M = 2.7
"""Height of the LiDAR above level ground, in UnScenes3D and MineSim."""

LABEL_GRID = VoxelGrid(origin_m=(0.0, -38.4, -4.0), voxel_m=0.3, shape=(256, 256, 32))
"""The grid of ``occ/``."""

BACKGROUND = 0
"""Background class in ``occ/``: these voxels are ignored; voxels without a row are free."""

DEPTH_UNITS_PER_M = 256.0
"""``depths/`` holds meters times this; 0 means no label."""

ELEVATION_UNITS_PER_M = 256.0
ELEVATION_TOP_M = 1.0
"""``elevation/`` holds (top − z)·units, z in the LiDAR frame; 0 means no point."""
ELEVATION_WRAPPED = 30_000
"""Values above this are points above the top that wrapped around, and no label."""
ELEVATION_X_M = (25.0, 45.48)
ELEVATION_Y_M = (-10.88, 10.88)
"""Region covered by ``elevation/``; cells are counted from the near right corner."""
ELEVATION_CELL_M = 0.1
"""Edge length of a cell in the release; an older toolkit used 0.04 m."""
_EDGE_M = 1e-6
"""A strip beyond the last cell that is narrower than this is a rounding error."""
_ELEVATION_CELLS_CM = range(1, 51)
"""Edge lengths in ``elevation_grid``; from 0.59 m on, the shape no longer determines the edge."""


def elevation_shape(cell_m: float) -> tuple[int, int]:
    """Return the rows and columns of an elevation image: the whole cells that fit in the region.

    The division rounds as in the release, where 20.48 m hold 511 cells of 0.04 m.
    """
    ends = (ELEVATION_X_M, ELEVATION_Y_M)
    rows, columns = (int((high - low) / cell_m) for low, high in ends)
    return rows, columns


def elevation_grid(shape: tuple[int, int]) -> ElevationGrid:
    """Return the grid of an elevation image with this many rows and columns.

    Raises:
        ValueError: If no cell size in whole centimeters gives this shape.
    """
    shapes = {elevation_shape(cm / 100): cm / 100 for cm in _ELEVATION_CELLS_CM}
    if shape not in shapes:
        rows, columns = elevation_shape(ELEVATION_CELL_M)
        raise ValueError(
            f"an elevation map must have {rows}×{columns} cells of {ELEVATION_CELL_M} m, or as "
            f"many of another size in whole centimeters up to {_ELEVATION_CELLS_CM[-1]} as fit in "
            f"x {ELEVATION_X_M} m, y {ELEVATION_Y_M} m; got {shape[0]}×{shape[1]}"
        )
    corner = (ELEVATION_X_M[0], ELEVATION_Y_M[0])
    return ElevationGrid(corner, shapes[shape], shape)


def mixed_elevation_cells(shape: tuple[int, int]) -> Bool[np.ndarray, "rows cols"]:
    """Return the cells of an elevation image that mix points of two places, so have no height.

    In the release, points beyond the last whole cell (8 cm at the far end, 6 cm on the left) get
    index −1. They end up in the last row, which is the nearest, and in the last column, on the
    right.

    Raises:
        ValueError: As in ``elevation_grid``.
    """
    far, left = elevation_grid(shape).far_left_m
    is_mixed = np.zeros(shape, bool)
    is_mixed[-1] = ELEVATION_X_M[1] - far > _EDGE_M
    is_mixed[:, -1] |= ELEVATION_Y_M[1] - left > _EDGE_M
    return is_mixed


def stem_of(folder: str, name: str) -> str | None:
    """Return the stem of a file in a folder; None for hidden files and other suffixes."""
    suffixes = IMAGE_SUFFIXES if folder == IMAGES else (SUFFIXES[folder],)
    lower = name.lower() if folder == IMAGES else name
    found = next((suffix for suffix in suffixes if lower.endswith(suffix)), None)
    return None if found is None or name.startswith(".") else name[: -len(found)]


def relative_path(folder: str, stem: str) -> str:
    """Return the path where a frame's file is written, relative to the data set's root.

    Images that are read may have another suffix (``inventory.path_of``).
    """
    return f"{folder}/{stem}{SUFFIXES[folder]}"
