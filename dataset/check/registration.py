"""Registration of labels and points: whether a shift, turn or flip makes them agree better.

Files that belong together agree best as they are. This holds in every data set, so that these
measurements also find faults that all frames have in common.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer

from dataset import layout
from dataset.check.calibration import FEW, camera_view, in_view
from dataset.check.nearby import covered

MIN_POINTS = 3
"""Points that make a voxel occupied beyond doubt."""
DEPTH_RANGE_M = (2.0, 80.0)
CLOSE_DEPTH = (0.1, 0.02)
"""Tolerance in meters, plus a share of the depth."""
CLOSE_HEIGHT_M = 0.1

_VOXEL_SHIFTS = [
    tuple(step if i == axis else 0 for i in range(3))
    for axis, steps in enumerate([(-4, -2, -1, 1, 2, 4)] * 2 + [(-2, -1, 1, 2)])
    for step in steps
]
_TURNS_DEG = (-5.0, -2.0, 2.0, 5.0)
_IMAGE_SHIFTS = (0.016, 0.024, 0.036, 0.054, 0.08, 0.12)
"""Shifts of a depth label, as shares of the width of the image."""
_MAX_VOXELS = 3000
"""Maximum number of voxels compared with an occupancy label at each move."""
_MAX_POINTS = 4000
"""Maximum number of points compared with a depth label at each shift."""


def voxel_registration(
    cloud: Float32[np.ndarray, "P 4"], rows: Integer[np.ndarray, "N 4"]
) -> tuple[float, float] | None:
    """Compare the voxels that hold points with those that are labeled.

    Only voxels in directions and at distances that the label covers are compared.

    Returns:
        The share of the voxels with ``MIN_POINTS`` points that are labeled, and the most that a
        shift, a turn or a flip of the cloud adds to it; None with too few voxels.
    """
    centers = _voxel_centers(cloud)
    labels = layout.LABEL_GRID.meters_from_voxel(rows[:, :3] + 0.5)
    centers = centers[covered(centers, labels)]
    if len(centers) < FEW:
        return None
    centers = centers[:: len(centers) // _MAX_VOXELS + 1]
    occupied = occupied_voxels(rows)
    share = _share_occupied(centers, occupied)
    moved = (_share_occupied(points, occupied) for points in _moved(centers))
    return share, max(0.0, max(moved) - share)


def depth_registration(
    cloud: Float32[np.ndarray, "P 4"],
    calibration: Mapping[str, Float64[np.ndarray, "4 4"]],
    depth_m: Float32[np.ndarray, "H W"],
) -> tuple[float, float] | None:
    """Compare the depths of points on labeled pixels with the label.

    Returns:
        The share of the points that have the depth of the label up to ``CLOSE_DEPTH``, and the
        most that a shift or a flip of the label adds to it; None with too few points.
    """
    view = camera_view(calibration, (depth_m.shape[0], depth_m.shape[1]))
    if view is None:
        return None
    _, pixels, depth = in_view(cloud[:, :3], view)
    is_compared = (depth >= DEPTH_RANGE_M[0]) & (depth <= DEPTH_RANGE_M[1])
    pixels, depth = pixels[is_compared], depth[is_compared]
    step = len(depth) // _MAX_POINTS + 1
    pixels, depth = pixels[::step], depth[::step]
    share = _share_close(depth_m, pixels, depth)
    if share is None:
        return None
    flips = (depth_m[:, ::-1], depth_m[::-1])
    moved = [_share_close(flip, pixels, depth) for flip in flips]
    for part in _IMAGE_SHIFTS:
        pixel = max(1, round(part * depth_m.shape[1]))
        for shift in ((pixel, 0), (-pixel, 0), (0, pixel), (0, -pixel)):
            moved.append(_share_close(depth_m, pixels + shift, depth))
    return share, max(0.0, *(other - share for other in moved if other is not None))


def elevation_registration(
    cloud: Float32[np.ndarray, "P 4"], elevation_m: Float32[np.ndarray, "rows cols"]
) -> tuple[float, float, float] | None:
    """Compare the mean height of the points in each labeled cell with the label.

    Returns:
        The share of the cells within ``CLOSE_HEIGHT_M``, the median difference, points minus label
        [m], and the most that a flip of the label adds to the share; None with too few cells.
    """
    height = mean_cell_heights(cloud[:, :3], elevation_m.shape)
    difference = (height - elevation_m)[np.isfinite(height - elevation_m)]
    if difference.size < FEW:
        return None
    share = float((np.abs(difference) < CLOSE_HEIGHT_M).mean())
    flipped = [0.0]
    for other in (elevation_m[:, ::-1], elevation_m[::-1]):
        away = np.abs(height - other)[np.isfinite(height - other)]
        if away.size >= FEW:
            flipped.append(float((away < CLOSE_HEIGHT_M).mean()) - share)
    return share, float(np.median(difference)), max(flipped)


def mean_cell_heights(
    points: Float32[np.ndarray, "P 3"], shape: tuple[int, ...]
) -> Float64[np.ndarray, "rows cols"]:
    """Return the mean height of the points in each elevation cell [m]; NaN without points."""
    rows, columns = shape
    grid = layout.elevation_grid((rows, columns))
    cells = grid.cells_of(points)
    inside = grid.holds(cells)
    number = cells[inside].astype(np.int64) @ np.array([columns, 1])
    count = np.bincount(number, minlength=rows * columns)
    total = np.bincount(number, points[inside, 2], minlength=rows * columns)
    mean = np.full(rows * columns, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean.reshape(rows, columns)


def occupied_voxels(rows: Integer[np.ndarray, "N 4"]) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels with a row."""
    occupied = np.zeros(layout.LABEL_GRID.shape, bool)
    occupied[tuple(rows[:, :3].T)] = True
    return occupied


def voxels_of(
    points: Float32[np.ndarray, "P 3"] | Float64[np.ndarray, "P 3"],
) -> tuple[Int64[np.ndarray, " Q"], Bool[np.ndarray, " P"]]:
    """Return the flat index of the voxel of each point in the label grid, and which points are."""
    grid = layout.LABEL_GRID
    index = np.floor(grid.voxel_from_meters(points))
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    flat = np.ravel_multi_index(tuple(index[inside].astype(np.int64).T), grid.shape)
    return flat.astype(np.int64), inside


def _voxel_centers(cloud: Float32[np.ndarray, "P 4"]) -> Float64[np.ndarray, "N 3"]:
    """Return the mean of the points in each voxel with ``MIN_POINTS`` points."""
    points = cloud[:, :3].astype(np.float64)
    flat, inside = voxels_of(points)
    _, number, count = np.unique(flat, return_inverse=True, return_counts=True)
    total = np.stack([np.bincount(number, points[inside, i]) for i in range(3)], axis=1)
    return (total / count[:, None])[count >= MIN_POINTS]


def _moved(points: Float64[np.ndarray, "N 3"]) -> Iterator[Float64[np.ndarray, "N 3"]]:
    for shift in _VOXEL_SHIFTS:
        yield points + np.multiply(shift, layout.LABEL_GRID.voxel_m)
    for axis in range(3):
        for degrees in _TURNS_DEG:
            yield points @ _rotation(axis, degrees).T
    yield points * [1, -1, 1]


def _rotation(axis: int, degrees: float) -> Float64[np.ndarray, "3 3"]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def _share_occupied(
    points: Float64[np.ndarray, "N 3"], occupied: Bool[np.ndarray, "X Y Z"]
) -> float:
    """Return the share of points in occupied voxels; points outside the grid do not count."""
    flat, inside = voxels_of(points)
    return float(occupied.ravel()[flat].mean()) if inside.sum() >= FEW else 0.0


def _share_close(
    depth_m: Float32[np.ndarray, "H W"],
    pixels: Int64[np.ndarray, "P 2"],
    depth: Float64[np.ndarray, " P"],
) -> float | None:
    """Return the share of the points on labeled pixels (row, column) with about that depth."""
    inside = ((pixels >= 0) & (pixels < depth_m.shape)).all(axis=1)
    label = depth_m[tuple(pixels[inside].T)]
    is_labeled = label > 0
    if is_labeled.sum() < FEW:
        return None
    expected = depth[inside][is_labeled]
    meters, part = CLOSE_DEPTH
    return float((np.abs(label[is_labeled] - expected) < meters + part * expected).mean())
