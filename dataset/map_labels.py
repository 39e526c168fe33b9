"""Labels from the points of a map, in the formats of the UnScenes3D layout."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64, UInt8, UInt16

from dataset import layout
from utils.geometry import VoxelGrid

DEPTH_RANGE_M = (2.0, 80.0)
DEPTH_SPLAT_PX = 9
"""Splat window of a point in a depth image 1920 pixels wide; it scales with the width."""
LOCAL_MAP_X_M = (-15.0, 110.0)
LOCAL_MAP_Y_M = (-60.0, 60.0)
"""Region of ``localmap_clouds/`` around the LiDAR."""
_MAX_VOTES = (1 << 32) - 1


def occupancy_rows(
    points: Float32[np.ndarray, "N 3"],
    label: UInt8[np.ndarray, "N"],
    grid: VoxelGrid = layout.LABEL_GRID,
) -> Int32[np.ndarray, "V 4"]:
    """Return rows ``x_index, y_index, z_index, class`` of the voxels that hold points.

    Args:
        points: LiDAR frame [m].
        label: Class of each point; a voxel takes the most frequent, the smaller label on a tie.
        grid: The label grid.

    Returns:
        One row per voxel, sorted by x, y, z.
    """
    index = np.floor(grid.voxel_from_meters(points)).astype(np.int64)
    inside = ((index >= 0) & (index < np.array(grid.shape))).all(axis=1)
    x, y, z = index[inside].T
    voxel = (x * grid.shape[1] + y) * grid.shape[2] + z
    pairs, votes = np.unique(voxel * 256 + label[inside], return_counts=True)
    # By voxel, most votes first, then label: a sort of packed words is faster than a lexsort.
    packed = np.sort((pairs >> 8 << 40) | (_MAX_VOTES - votes << 8) | (pairs & 255))
    is_winner = np.diff(packed >> 40, prepend=-1) > 0
    voxel, vote_label = packed[is_winner] >> 40, packed[is_winner] & 255
    x, yz = np.divmod(voxel, grid.shape[1] * grid.shape[2])
    y, z = np.divmod(yz, grid.shape[2])
    return np.stack([x, y, z, vote_label], axis=1).astype(np.int32)


def splatted_depth(
    pixel: Int64[np.ndarray, "N"],
    depth_m: Float32[np.ndarray, "N"],
    size: tuple[int, int],
    window: int | None = None,
) -> UInt16[np.ndarray, "H W"]:
    """Make a depth label in which each point fills a window.

    Args:
        pixel: Flat index of the pixel of each point.
        depth_m: Camera depth of each point, within ``DEPTH_RANGE_M``.
        size: Height and width of the image.
        window: Edge of the window [px], odd; None for the one of the release.

    Returns:
        Depth [m] times 256. The nearest point wins where windows overlap. 0 means no label, which
        includes a border of half a window.
    """
    height, width = size
    window = splat_window(width) if window is None else window
    units = np.rint(depth_m * layout.DEPTH_UNITS_PER_M).astype(np.uint16)
    empty = np.iinfo(np.uint16).max
    nearest = np.full(height * width, empty, dtype=np.uint16)
    # For duplicate indices the last assignment wins, so write from far to near.
    order = np.argsort(units, kind="stable")[::-1]
    nearest[pixel[order]] = units[order]
    image = cv2.erode(nearest.reshape(height, width), np.ones((window, window), np.uint8))
    edge = window // 2
    framed = np.zeros_like(image)
    inner = (slice(edge, -edge), slice(edge, -edge))
    framed[inner] = np.where(image[inner] == empty, 0, image[inner])
    return framed


def splat_window(width: int, pixels: int = DEPTH_SPLAT_PX) -> int:
    """Return the odd edge of a point's splat window in a depth image [px], at least 3."""
    return max(3, 2 * round((pixels * width / 1920 - 1) / 2) + 1)


def elevation_image(points: Float32[np.ndarray, "N 3"]) -> UInt16[np.ndarray, "rows cols"]:
    """Make the elevation label: (1 − mean z)·256 of the map points in each 0.1 m cell.

    Args:
        points: LiDAR frame [m].

    Returns:
        Values at the cells of ``layout.elevation_grid``; 0 means no point. Elevations above 1 m
        wrap around as in the recorded labels, and so do the far and left edges of the region.
    """
    grid = layout.elevation_grid(layout.elevation_shape(layout.ELEVATION_CELL_M))
    rows, columns = grid.shape
    inside = _between(points[:, 0], layout.ELEVATION_X_M) & _between(
        points[:, 1], layout.ELEVATION_Y_M
    )
    cells = grid.cells_of(points[inside].astype(np.float64)).astype(np.int64)
    # Row and column −1 are the last ones: see ``layout.mixed_elevation_cells``.
    index = (cells % grid.shape) @ (columns, 1)
    count = np.bincount(index, minlength=rows * columns)
    total = np.bincount(index, weights=points[inside, 2], minlength=rows * columns)
    mean_z = total / np.maximum(count, 1)
    units = (layout.ELEVATION_TOP_M - mean_z) * layout.ELEVATION_UNITS_PER_M
    wrapped = np.where(count > 0, np.trunc(units).astype(np.int64) % (1 << 16), 0)
    return wrapped.astype(np.uint16).reshape(rows, columns)


def _between(values: Float[np.ndarray, "N"], ends: tuple[float, float]) -> Bool[np.ndarray, "N"]:
    return (values > ends[0]) & (values < ends[1])
