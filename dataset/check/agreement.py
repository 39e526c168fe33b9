"""Agreement between the labels and the LiDAR points of a frame, as shares of the points."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, Integer

from dataset import layout
from dataset.check.calibration import FEW, camera_view, in_view
from dataset.check.nearby import is_near_cloud, is_near_voxels

MAP_RADIUS_M = 0.3
DEPTH_RANGE_M = (2.0, 80.0)
DEPTH_TOLERANCE = (0.5, 0.05)
"""Tolerance in meters, plus a share of the depth: each label fills a window of pixels."""
ELEVATION_TOLERANCE_M = 0.5

_MAX_POINTS = 2000
"""Maximum number of points compared with the local map; more would not change the share."""
_FAR_M = 1000.0


def occupancy_agreement(
    cloud: Float32[np.ndarray, "P 4"], rows: Integer[np.ndarray, "N 4"]
) -> float | None:
    """Return the share of the points in the grid within a voxel of an occupied voxel."""
    grid = layout.LABEL_GRID
    index = np.floor(grid.voxel_from_meters(cloud[:, :3].astype(np.float64)))
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    if inside.sum() < FEW:
        return None
    occupied = np.zeros(grid.shape, bool)
    occupied[tuple(rows[:, :3].T)] = True
    return float(is_near_voxels(index[inside].astype(np.int64), occupied).mean())


def map_agreement(
    cloud: Float32[np.ndarray, "P 4"], local_map: Float32[np.ndarray, "M 3"]
) -> float | None:
    """Return the share of the points within ``MAP_RADIUS_M`` of a point of the local map."""
    near = cloud[(np.abs(cloud[:, :3]) < _FAR_M).all(axis=1), :3]
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
