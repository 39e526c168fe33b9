"""What the camera of a frame sees of the map: depth without hidden points, and visible voxels."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt16

from dataset import layout
from dataset.labeling.options import LabelOptions
from dataset.map_labels import DEPTH_RANGE_M, splat_window, splatted_depth
from utils.labels import FREE, IGNORE

_HIDDEN_SHARE, _HIDDEN_M = 0.03, 0.3
"""Points farther than the first surface by this share of the depth and this distance are hidden."""
_CAMERA_HEIGHT_M = 2.0
"""Height above the ground that sets how fast depth may grow within a footprint."""
_BLOCKS = 160
"""Blocks across an image in which nearer points of a cloud hide farther ones."""
_RAY_DEG = 0.25
"""Angle between the rays of the visibility mask: a voxel 70 m away."""


def visible_depth(
    points: Float32[np.ndarray, "N 3"],
    spacing_m: Float32[np.ndarray, " N"],
    pixel_from_lidar: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
    options: LabelOptions,
) -> UInt16[np.ndarray, "H W"]:
    """Make the depth label from the points that no nearer ones hide.

    Each point covers the pixels up to the next point, by its spacing and distance. Points well
    behind what covers their pixel are hidden.

    Args:
        points: Map and own cloud, LiDAR frame [m].
        spacing_m: Distance to the next point of the surface.
        pixel_from_lidar: The projection.
        size: Height and width of the image.
        options: The splat window.
    """
    height, width = size
    matrix = pixel_from_lidar.astype(np.float32)
    projected = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = projected[:, 2]
    shown = (depth >= DEPTH_RANGE_M[0]) & (depth <= DEPTH_RANGE_M[1])
    depth, spacing_m = depth[shown], spacing_m[shown]
    column, row = (projected[shown, :2] / depth[:, None]).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row, depth = (values[inside] for values in (column, row, depth))
    focal = float(np.linalg.norm(np.cross(matrix[0, :3], matrix[2, :3])))
    footprint = focal * spacing_m[inside] / depth
    level = np.clip(np.ceil(np.log2(np.maximum(footprint, 1))), 0, 6).astype(int)
    surface = _first_surface(column, row, depth, level, size)
    x, y = column.astype(np.int64), row.astype(np.int64)
    # On the ground, depth grows with the square of the distance within a footprint.
    slack = depth**2 * (2.0**level) / (focal * _CAMERA_HEIGHT_M)
    first = surface[y, x]
    visible = depth <= first * (1 + _HIDDEN_SHARE) + _HIDDEN_M + np.minimum(slack, 0.25 * depth)
    flat = y[visible] * width + x[visible]
    window = splat_window(width, options.depth_splat_px)
    return splatted_depth(flat, depth[visible], size, window)


def _first_surface(
    column: Float32[np.ndarray, " N"],
    row: Float32[np.ndarray, " N"],
    depth: Float32[np.ndarray, " N"],
    level: np.ndarray,
    size: tuple[int, int],
) -> Float32[np.ndarray, "H W"]:
    """Return the depth of the nearest point whose block covers each pixel; inf without one."""
    height, width = size
    nearest = np.full((height, width), np.inf, np.float32)
    for power in np.unique(level).tolist():
        of_level = level == power
        edge = 1 << power
        rows, columns = -(-height // edge), -(-width // edge)
        block = np.full(rows * columns, np.inf, np.float32)
        x, y = (column[of_level] / edge).astype(np.int64), (row[of_level] / edge).astype(np.int64)
        np.minimum.at(block, y * columns + x, depth[of_level])
        grown = np.repeat(np.repeat(block.reshape(rows, columns), edge, 0), edge, 1)
        np.minimum(nearest, grown[:height, :width], out=nearest)
    return nearest


def first_hits(
    points: Float32[np.ndarray, "N 3"],
    pixel_from_lidar: Float64[np.ndarray, "4 4"],
    size: tuple[int, ...],
) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " M"], Int64[np.ndarray, " M"]]:
    """Return the points of one cloud that the camera sees, with their column and row.

    Args:
        points: Points of the cloud, LiDAR frame [m].
        pixel_from_lidar: The projection.
        size: Height and width of the image.
    """
    height, width = size
    projected = points @ pixel_from_lidar[:3, :3].T + pixel_from_lidar[:3, 3]
    depth = projected[:, 2]
    safe = np.maximum(depth, 1e-3)
    column, row = np.floor(projected[:, :2] / safe[:, None]).T
    ahead = (depth > DEPTH_RANGE_M[0]) & (column >= 0) & (column < width)
    seen = np.flatnonzero(ahead & (row >= 0) & (row < height))
    x, y = column[seen].astype(np.int64), row[seen].astype(np.int64)
    block = max(1, width // _BLOCKS)
    flat = y // block * (width // block + 1) + x // block
    nearest = np.full(flat.max(initial=0) + 1, np.inf)
    np.minimum.at(nearest, flat, depth[seen])
    shown = depth[seen] <= nearest[flat] * (1 + 3 * _HIDDEN_SHARE) + _HIDDEN_M
    return seen[shown], x[shown], y[shown]


def seen_by_camera(
    occupancy: UInt8[np.ndarray, "X Y Z"],
    pixel_from_lidar: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels that the camera sees: up to the first that is not free, included.

    Unobserved voxels end a ray without being seen.

    Args:
        occupancy: Labels.
        pixel_from_lidar: The projection.
        size: Height and width of the image.
    """
    grid = layout.LABEL_GRID
    focal = float(np.linalg.norm(np.cross(pixel_from_lidar[0, :3], pixel_from_lidar[2, :3])))
    stride = focal * np.radians(_RAY_DEG)
    first = _first_depth(occupancy, pixel_from_lidar, size, stride)
    known = np.argwhere(occupancy != IGNORE)
    centers = grid.meters_from_voxel(known.astype(np.float32) + np.float32(0.5))
    projected = centers @ pixel_from_lidar[:3, :3].T.astype(np.float32)
    projected += pixel_from_lidar[:3, 3].astype(np.float32)
    depth = np.maximum(projected[:, 2], 1e-3)
    column, row = (projected[:, :2] / depth[:, None]).T
    inside = (projected[:, 2] > 0) & (column >= 0) & (column < size[1])
    inside &= (row >= 0) & (row < size[0])
    y, x = (row[inside] / stride).astype(np.int64), (column[inside] / stride).astype(np.int64)
    seen = np.zeros(len(known), bool)
    seen[inside] = depth[inside] <= first[y, x] + grid.voxel_m / 2
    found = np.zeros(grid.shape, bool)
    found[tuple(known[seen].T)] = True
    return found


def _first_depth(
    occupancy: UInt8[np.ndarray, "X Y Z"],
    pixel_from_lidar: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
    stride: float,
) -> Float32[np.ndarray, "rows cols"]:
    """Return the camera depth of the first voxel along each ray that is not free [m]; inf if none.

    For an unobserved voxel, it is the depth right before it.
    """
    grid = layout.LABEL_GRID
    lidar_from_pixel = np.linalg.inv(pixel_from_lidar)
    rows, columns = (int(np.ceil(edge / stride)) for edge in size)
    v, u = np.mgrid[:rows, :columns] * stride + stride / 2
    ends = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    direction = (ends @ lidar_from_pixel[:3, :3].T).astype(np.float32)  # Per meter of depth.
    start = lidar_from_pixel[:3, 3].astype(np.float32)
    first = np.full(len(direction), np.inf, np.float32)
    going = np.arange(len(direction))
    shape = np.array(grid.shape)
    step = grid.voxel_m / 2
    farthest = float(np.linalg.norm(np.abs([grid.end_m, grid.origin_m]).max(axis=0)))
    for depth in np.arange(step / 2, farthest, step, dtype=np.float32):
        index = np.floor(grid.voxel_from_meters(start + direction[going] * depth)).astype(np.int64)
        inside = ((index >= 0) & (index < shape)).all(axis=1)
        label = np.zeros(len(going), np.uint8)
        x, y, z = index[inside].T
        label[inside] = occupancy[x, y, z]
        ended = label != FREE
        first[going[ended]] = depth - np.where(label[ended] == IGNORE, np.float32(grid.voxel_m), 0)
        going = going[~ended]
    return first.reshape(rows, columns)
