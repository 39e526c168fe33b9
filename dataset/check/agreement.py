"""Agreement between the labels and the LiDAR points of a frame, as shares.

Only points that a label can cover are compared: many labels cover the view of the camera only.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, Integer

from dataset import layout
from dataset.check.calibration import FEW, camera_view, in_view
from dataset.check.nearby import covered, is_near_cloud, is_near_voxels
from dataset.check.registration import (
    DEPTH_RANGE_M,
    mean_cell_heights,
    occupied_voxels,
    voxels_of,
)
from utils.labels import UNSCENES3D

MAP_RADIUS_M = 0.3
DEPTH_TOLERANCE = (0.5, 0.05)
"""Tolerance in meters, plus a share of the depth: each label fills a window of pixels."""
ELEVATION_TOLERANCE_M = 0.5
MAP_HEIGHT_M = 0.05
"""Tolerance between the elevation label and the local map that it is made from."""

AHEAD_M = (3.0, 15.0)
BESIDE_M = 1.5
"""Part of the road that the vehicle is about to drive on."""

_MAX_POINTS = 2000
"""Maximum number of points compared with the local map; more would not change the share."""
_FAR_M = 1000.0


def occupancy_agreement(
    cloud: Float32[np.ndarray, "P 4"], rows: Integer[np.ndarray, "N 4"]
) -> float | None:
    """Return the share of the points in the grid within a voxel of an occupied voxel."""
    grid = layout.LABEL_GRID
    points = cloud[:, :3].astype(np.float64)
    points = points[covered(points, grid.meters_from_voxel(rows[:, :3] + 0.5))]
    index = np.floor(grid.voxel_from_meters(points))
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    if inside.sum() < FEW:
        return None
    return float(is_near_voxels(index[inside].astype(np.int64), occupied_voxels(rows)).mean())


def map_agreement(
    cloud: Float32[np.ndarray, "P 4"], local_map: Float32[np.ndarray, "M 3"]
) -> float | None:
    """Return the share of the points within ``MAP_RADIUS_M`` of a point of the local map."""
    near = cloud[(np.abs(cloud[:, :3]) < _FAR_M).all(axis=1), :3]
    near = near[covered(near, local_map)]
    if len(near) < FEW:
        return None
    points = near[:: len(near) // _MAX_POINTS + 1]
    return float(is_near_cloud(points, local_map, MAP_RADIUS_M).mean())


def depth_agreement(
    cloud: Float32[np.ndarray, "P 4"],
    calibration: Mapping[str, Float64[np.ndarray, "4 4"]],
    depth_m: Float32[np.ndarray, "H W"],
) -> float | None:
    """Return the share of the points on labeled pixels with about the depth of the label."""
    height, width = depth_m.shape
    view = camera_view(calibration, (height, width))
    if view is None:
        return None
    _, pixels, depth = in_view(cloud[:, :3], view)
    label = depth_m[tuple(pixels.T)]
    compared = (label > 0) & (depth >= DEPTH_RANGE_M[0]) & (depth <= DEPTH_RANGE_M[1])
    if compared.sum() < FEW:
        return None
    difference = np.abs(label - depth)[compared]
    meters, share = DEPTH_TOLERANCE
    return float((difference < meters + share * depth[compared]).mean())


def elevation_agreement(
    cloud: Float32[np.ndarray, "P 4"], elevation_m: Float32[np.ndarray, "rows cols"]
) -> float | None:
    """Return the share of the points on labeled cells with about the height of the label."""
    grid = layout.elevation_grid((elevation_m.shape[0], elevation_m.shape[1]))
    cells = grid.cells_of(cloud)
    inside = grid.holds(cells)
    label = elevation_m[tuple(cells[inside].astype(np.int64).T)]
    known = np.isfinite(label)
    if known.sum() < FEW:
        return None
    difference = np.abs(label - cloud[inside, 2])[known]
    return float((difference < ELEVATION_TOLERANCE_M).mean())


def label_map_agreement(
    rows: Integer[np.ndarray, "N 4"], local_map: Float32[np.ndarray, "M 3"]
) -> float | None:
    """Compare the labeled voxels with the voxels that hold points of the local map.

    Returns:
        The smaller of two shares: of the labeled voxels with map points, and of the voxels with
        map points that are labeled; None with too few of either.
    """
    flat, _ = voxels_of(local_map)
    occupied = occupied_voxels(rows).ravel()
    mapped = np.zeros(occupied.size, bool)
    mapped[flat] = True
    if occupied.sum() < FEW or mapped.sum() < FEW:
        return None
    both = (occupied & mapped).sum()
    return float(min(both / occupied.sum(), both / mapped.sum()))


def elevation_map_agreement(
    elevation_m: Float32[np.ndarray, "rows cols"], local_map: Float32[np.ndarray, "M 3"]
) -> float | None:
    """Return the share of the labeled cells with the mean height of the local map in them."""
    height = mean_cell_heights(local_map, elevation_m.shape)
    difference = (height - elevation_m)[np.isfinite(height - elevation_m)]
    if difference.size < FEW:
        return None
    return float((np.abs(difference) < MAP_HEIGHT_M).mean())


def road_ahead(rows: Integer[np.ndarray, "N 4"]) -> float | None:
    """Return the share of the lowest labeled voxels just ahead that are driveable_surface."""
    grid = layout.LABEL_GRID
    x, y, _ = grid.meters_from_voxel(rows[:, :3] + 0.5).T
    is_ahead = (x > AHEAD_M[0]) & (x < AHEAD_M[1]) & (np.abs(y) < BESIDE_M)
    ahead = rows[is_ahead & (rows[:, 3] != layout.BACKGROUND)]
    ahead = ahead[np.argsort(ahead[:, 2], kind="stable")]
    _, lowest = np.unique(ahead[:, 0] * grid.shape[1] + ahead[:, 1], return_index=True)
    if len(lowest) < FEW:
        return None
    return float((ahead[lowest, 3] == UNSCENES3D.index("driveable_surface")).mean())
