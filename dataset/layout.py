"""Facts of the UnScenes3D layout: folder names, the label grid, and how pictures encode metres."""

from utils.geometry import VoxelGrid

DATASET_TYPE = "UnScenes3D"
"""Type of the data set, in configs, that reads this layout."""

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
"""Region of ``elevation/``: row 0 is the far end of x, column 0 the left end of y."""


def relative_path(folder: str, stem: str) -> str:
    """Path of a frame's file below the data set's root."""
    return f"{folder}/{stem}{SUFFIXES[folder]}"
