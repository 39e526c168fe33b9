"""The ground of a clip: the lowest surface that connects smoothly to where the vehicle drove.

The world is cut into square cells. Neighboring cells are linked where their lowest heights differ
by no more than a slope allows; what is linked to the path of the vehicle is ground.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dataset.labeling.options import LabelOptions

_LOW_SHARE = 0.05
"""Share of the points of a cell below its height: noise lies below the ground, too."""
_PATH_M = 1.0
"""Half width of the path that is searched for the first cells."""
_PATH_HEIGHT_M = 0.5
"""Largest height of these cells above or below the wheels."""
_LINKS = [(dx, dy) for dx in range(4) for dy in range(-3, 4) if (dx, dy) > (0, 0)]
"""Neighbors up to three cells away, without a known cell between: rings of a LiDAR leave gaps."""


@dataclass(frozen=True)
class Ground:
    """Heights of the ground in cells seen from above.

    Attributes:
        low_m: Lower corner (x, y) of cell (0, 0) [m].
        cell_m: Edge of a cell [m].
        height_m: Height of the ground; NaN where none was found.
        is_driveable: Cells that a vehicle can drive on.
        is_filled: Cells without points whose height is between those around them.
    """

    low_m: Float64[np.ndarray, "2"]
    cell_m: float
    height_m: Float32[np.ndarray, "X Y"]
    is_driveable: Bool[np.ndarray, "X Y"]
    is_filled: Bool[np.ndarray, "X Y"]

    def at(
        self, points_m: Float32[np.ndarray, "N 3"]
    ) -> tuple[Float32[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Return the height of the ground below or above points [m], and whether to drive on it."""
        x, y = self.cells_of(points_m)
        return self.height_m[x, y], self.is_driveable[x, y]

    def cells_of(
        self, points_m: Float32[np.ndarray, "N 3"]
    ) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
        """Return the cell of each point, the nearest one if outside."""
        index = np.floor((points_m[:, :2] - self.low_m.astype(np.float32)) / self.cell_m)
        x, y = np.clip(index.astype(np.int64), 0, np.array(self.height_m.shape) - 1).T
        return x, y

    def filled_points(self) -> Float32[np.ndarray, "N 3"]:
        """Return a point in the middle of each filled cell [m]."""
        x, y = np.nonzero(self.is_filled)
        corner = self.low_m + (np.stack([x, y], axis=1) + 0.5) * self.cell_m
        return np.column_stack([corner, self.height_m[x, y]]).astype(np.float32)


def fit_ground(
    points_m: Float32[np.ndarray, "M 3"],
    wheels_m: Float64[np.ndarray, "F 3"],
    options: LabelOptions,
) -> Ground:
    """Find the ground.

    Args:
        points_m: The map; at least one point.
        wheels_m: Points on the ground that the vehicle drove over, in time order.
        options: Cell size, slopes and the gap that is closed.
    """
    cell_m = options.ground_cell_m
    low = np.floor(points_m[:, :2].min(axis=0) / cell_m).astype(np.float64) * cell_m
    index = np.floor((points_m[:, :2] - low.astype(np.float32)) / np.float32(cell_m)).astype(int)
    index = np.maximum(index, 0)
    nx, ny = index.max(axis=0) + 1
    flat = index[:, 0] * ny + index[:, 1]
    height = np.full(nx * ny, np.nan, np.float32)
    cells, lowest = _lowest(flat, points_m[:, 2])
    height[cells] = lowest
    height = height.reshape(nx, ny)
    start = _path_cells(height, low, cell_m, wheels_m)
    step = options.ground_step_m
    ground = _connected(height, start, options.terrain_slope * cell_m, step)
    is_flat = ground & (_slope(height, cell_m) <= options.driveable_slope)
    driveable = _connected(
        np.where(is_flat, height, np.float32(np.nan)), start, options.driveable_slope * cell_m, step
    )
    height = np.where(ground, height, np.float32(np.nan))
    filled = _filled(height, options.fill_m / cell_m)
    is_filled = np.isnan(height) & ~np.isnan(filled)
    near = cv2.dilate(driveable.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return Ground(low, cell_m, filled, driveable | (is_filled & near), is_filled)


def _lowest(
    flat: Int64[np.ndarray, " M"], z: Float32[np.ndarray, " M"]
) -> tuple[Int64[np.ndarray, " C"], Float32[np.ndarray, " C"]]:
    """Return the cells with points and the height that 5 % of their points are below."""
    order = np.lexsort((z, flat))
    cell = flat[order]
    starts = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]]))
    count = np.diff(np.append(starts, len(cell)))
    return cell[starts], z[order][starts + (count * _LOW_SHARE).astype(int)]


def _path_cells(
    height: Float32[np.ndarray, "X Y"],
    low: Float64[np.ndarray, "2"],
    cell_m: float,
    wheels_m: Float64[np.ndarray, "F 3"],
) -> Bool[np.ndarray, "X Y"]:
    """Return the cells below the vehicle whose height is that of its wheels."""
    path = _resampled(wheels_m, cell_m)
    around = np.arange(-_PATH_M, _PATH_M + cell_m, cell_m)
    shift = np.stack(np.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)
    index = np.floor((path[:, None, :2] + shift - low) / cell_m).astype(int)  # (F, S, 2)
    z = np.broadcast_to(path[:, None, 2], index.shape[:2])
    inside = ((index >= 0) & (index < height.shape)).all(axis=-1)
    x, y = index[inside].T
    is_near = np.abs(height[x, y] - z[inside]) < _PATH_HEIGHT_M
    start = np.zeros(height.shape, bool)
    start[x[is_near], y[is_near]] = True
    return start


def _resampled(path: Float64[np.ndarray, "F 3"], step_m: float) -> Float64[np.ndarray, "S 3"]:
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    wanted = np.arange(0, along[-1] + step_m, step_m)
    return np.stack([np.interp(wanted, along, path[:, i]) for i in range(3)], axis=1)


def _connected(
    height: Float32[np.ndarray, "X Y"],
    start: Bool[np.ndarray, "X Y"],
    rise: float,
    step: float,
) -> Bool[np.ndarray, "X Y"]:
    """Return the cells linked to the start: ``rise`` per cell and ``step`` at most.

    Each linked group gets the number of its first cell (pointer jumping).
    """
    known = ~np.isnan(height)
    number = np.full(height.shape, -1, np.int64)
    number[known] = np.arange(known.sum())
    pairs = []
    for dx, dy in _LINKS:
        here, there = _shifted(height.shape, dx, dy)
        limit = rise * float(np.hypot(dx, dy)) + step
        with np.errstate(invalid="ignore"):
            linked = np.abs(height[here] - height[there]) <= limit
        for part in range(1, max(dx, abs(dy))):
            between = round(dx * part / max(dx, abs(dy))), round(dy * part / max(dx, abs(dy)))
            linked &= ~known[_moved(here, *between)]
        pairs.append(np.stack([number[here][linked], number[there][linked]]))
    a, b = np.concatenate(pairs, axis=1)
    group = np.arange(known.sum())
    while len(a):
        first, second = group[a], group[b]
        smaller, larger = np.minimum(first, second), np.maximum(first, second)
        np.minimum.at(group, larger, smaller)
        while True:
            jumped = group[group]
            if np.array_equal(jumped, group):
                break
            group = jumped
        differ = group[a] != group[b]
        a, b = a[differ], b[differ]
    found = np.zeros(height.shape, bool)
    found[known] = np.isin(group, np.unique(group[number[start & known]]))
    return found


def _shifted(shape: tuple[int, ...], dx: int, dy: int) -> tuple[tuple[slice, ...], ...]:
    """Return the slices of all cells with a neighbor at (dx, dy), and of these neighbors."""
    here = slice(0, shape[0] - dx), slice(max(0, -dy), shape[1] - max(0, dy))
    return here, _moved(here, dx, dy)


def _moved(window: tuple[slice, ...], dx: int, dy: int) -> tuple[slice, ...]:
    return tuple(
        slice(part.start + step, part.stop + step)
        for part, step in zip(window, (dx, dy), strict=True)
    )


def _slope(height: Float32[np.ndarray, "X Y"], cell_m: float) -> Float32[np.ndarray, "X Y"]:
    """Return rise over run between the cells on both sides; 0 where they are unknown."""
    squared = np.zeros_like(height)
    for axis in (0, 1):
        rise = np.zeros_like(height)
        for reach in (1, 2):  # The wider one, which noise matters less to, if it is known.
            before, after = np.roll(height, reach, axis), np.roll(height, -reach, axis)
            for rolled, edge in ((before, slice(0, reach)), (after, slice(-reach, None))):
                rolled[(slice(None),) * axis + (edge,)] = np.nan
            found = (after - before) / np.float32(2 * reach * cell_m)
            rise = np.where(np.isnan(found), rise, found)
        squared += rise**2
    return np.sqrt(squared)


def _filled(height: Float32[np.ndarray, "X Y"], gap: float) -> Float32[np.ndarray, "X Y"]:
    """Fill gaps up to ``gap`` cells wide with the mean of the heights around them."""
    reach = int(np.ceil(gap / 2))
    if reach < 1:
        return height
    known = (~np.isnan(height)).astype(np.uint8)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    closed = cv2.morphologyEx(
        cv2.copyMakeBorder(known, *(4 * (reach,)), cv2.BORDER_CONSTANT, value=0),
        cv2.MORPH_CLOSE,
        kernel,
    )[reach:-reach, reach:-reach].astype(bool)
    size = (2 * reach + 1, 2 * reach + 1)
    weight = cv2.blur(known.astype(np.float32), size, borderType=cv2.BORDER_CONSTANT)
    total = cv2.blur(np.nan_to_num(height), size, borderType=cv2.BORDER_CONSTANT)
    mean = total / np.maximum(weight, 1e-6)
    return np.where(known.astype(bool) | ~closed, height, mean).astype(np.float32)
