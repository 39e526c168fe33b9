"""Baselines for the elevation head: the mean map of the training set, and interpolated points."""

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from dataset.elevation import ElevationGrid, mean_heights
from dataset.sample import Sample

_MARGIN = 16
"""Width of the border around the region whose points are also used, in cells."""


def mean_map(samples: Iterable[Sample]) -> Float[Tensor, "rows cols"]:
    """Average the labels of each cell; unlabeled cells get the mean of all cells [m].

    Args:
        samples: Frames with labels of the same shape.

    Raises:
        ValueError: If no cell is labeled, a frame was read without its label, or the shapes differ.
    """
    total = count = torch.zeros(0)
    for sample in samples:
        if sample.elevation_m is None:
            raise ValueError(f"frame {sample.stem} was read without its elevation label")
        height = sample.elevation_m.double()
        if not len(total):
            total, count = torch.zeros_like(height), torch.zeros_like(height)
        if height.shape != total.shape:
            raise ValueError(
                f"frame {sample.stem}: elevation labels must have one shape, got "
                f"{tuple(height.shape)} after {tuple(total.shape)}"
            )
        is_known = ~height.isnan()
        total = total + torch.where(is_known, height, 0.0)
        count = count + is_known
    if not count.any():
        raise ValueError("no cell of the training set has an elevation label")
    mean = torch.where(count > 0, total / count.clamp(min=1), total.sum() / count.sum())
    return mean.float()


def interpolate_points(
    points: Float[Tensor, "P F"], grid: ElevationGrid
) -> Float[Tensor, "rows cols"]:
    """Interpolate the heights of the frame's own points linearly on their triangles [m].

    Points are first averaged in each cell. Cells outside all triangles get the nearest height.

    Args:
        points: x, y, z [m] and other features.
        grid: The cells of the label.

    Raises:
        ValueError: If no point is near the grid.
    """
    wide, (row, column) = grid.widen(_MARGIN, 1)
    height, count = (part[0, 0].numpy() for part in mean_heights([points.cpu()], wide))
    if not count.any():
        raise ValueError("no LiDAR point is near the elevation region: nothing to interpolate")
    filled, (rows, columns) = interpolate_linearly(height, np.argwhere(count > 0)), grid.shape
    return torch.from_numpy(filled[row : row + rows, column : column + columns].copy())


def interpolate_linearly(
    height: Float32[np.ndarray, "rows cols"], known: Int64[np.ndarray, "K 2"]
) -> Float32[np.ndarray, "rows cols"]:
    """Interpolate a map linearly between its known cells, on their Delaunay triangles.

    Args:
        height: Heights [m]; any value where unknown.
        known: Rows and columns of the known cells, at least one.

    Returns:
        Heights [m]; outside the triangles, that of the nearest known cell.
    """
    triangles = _triangles(known, height.shape)
    filled = _nearest(height, known)
    triangle_of = np.full(height.shape, -1, np.int32)
    for index, corners in enumerate(triangles):
        # cv2 expects (column, row).
        cv2.fillConvexPoly(triangle_of, np.ascontiguousarray(corners[:, ::-1], np.int32), index)
    cells = np.argwhere(triangle_of >= 0)
    corners = triangles[triangle_of[cells[:, 0], cells[:, 1]]]  # (cells, 3, 2)
    weights = _barycentric(cells, corners)
    at_corners = height[corners[..., 0], corners[..., 1]]
    filled[cells[:, 0], cells[:, 1]] = (weights * at_corners).sum(-1)
    filled[known[:, 0], known[:, 1]] = height[known[:, 0], known[:, 1]]
    return filled


def _triangles(
    known: Int64[np.ndarray, "K 2"], shape: tuple[int, ...]
) -> Int64[np.ndarray, "T 3 2"]:
    """Return the corners (row, column) of the Delaunay triangles of cells."""
    rows, columns = shape
    subdivision = cv2.Subdiv2D((-1, -1, columns + 2, rows + 2))
    subdivision.insert([(float(column), float(row)) for row, column in known])
    found = np.array(subdivision.getTriangleList(), np.float64).reshape(-1, 3, 2)[..., ::-1]
    corners = np.rint(found).astype(np.int64)
    # Drop triangles that use a corner of the subdivision's bounding triangle, far outside the map.
    return corners[((corners >= 0) & (corners < np.array(shape))).all((1, 2))]


def _nearest(
    height: Float32[np.ndarray, "rows cols"], known: Int64[np.ndarray, "K 2"]
) -> Float32[np.ndarray, "rows cols"]:
    """Return the height of the nearest known cell."""
    is_gap = np.ones(height.shape, np.uint8)
    is_gap[known[:, 0], known[:, 1]] = 0
    _, label = cv2.distanceTransformWithLabels(
        is_gap, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    height_of = np.zeros(int(label.max()) + 1, np.float32)
    height_of[label[known[:, 0], known[:, 1]]] = height[known[:, 0], known[:, 1]]
    return height_of[label]


def _barycentric(
    cells: Int64[np.ndarray, "N 2"], corners: Int64[np.ndarray, "N 3 2"]
) -> np.ndarray:
    """Return barycentric weights (N, 3); a cell beyond an edge is moved onto it."""
    origin, first, second = (corners[:, i].astype(np.float64) for i in range(3))
    along, across, offset = first - origin, second - origin, cells - origin
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    area = np.where(area == 0, 1.0, area)
    weight_1 = (offset[:, 0] * across[:, 1] - offset[:, 1] * across[:, 0]) / area
    weight_2 = (along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]) / area
    weights = np.stack([1 - weight_1 - weight_2, weight_1, weight_2], axis=-1).clip(0, 1)
    return weights / weights.sum(-1, keepdims=True)
