"""Convert labels to the grid of a network, in another frame and with other voxels."""

import numpy as np
from jaxtyping import Float64, Shaped, UInt8

from dataset.transforms import coarsen_occupancy
from utils.geometry import VoxelGrid
from utils.labels import IGNORE


def labels_on_volume(
    labels: UInt8[np.ndarray, "x y z"],
    label_grid: VoxelGrid,
    volume_grid: VoxelGrid,
    label_from_volume: Float64[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "X Y Z"]:
    """Convert labels to another grid; voxels outside their own are ignored.

    Finer labels are coarsened by majority vote, as everywhere in the project: sampling at voxel
    centers would lose half of the surfaces that are one label thick.

    Args:
        labels: Values on ``label_grid``; 0 free, 255 ignored.
        label_grid: Grid of the labels.
        volume_grid: Grid to convert to.
        label_from_volume: Transform from the frame of ``volume_grid`` to that of ``label_grid``.
    """
    factor = whole_voxels(label_grid, volume_grid.voxel_m)
    coarse = coarsen_occupancy(labels, factor)
    return resample_labels(coarse, label_grid.coarsen(factor), volume_grid, label_from_volume)


def resample_labels(
    labels: Shaped[np.ndarray, "x y z"],
    label_grid: VoxelGrid,
    volume_grid: VoxelGrid,
    label_from_volume: Float64[np.ndarray, "4 4"],
    *,
    outside: int = IGNORE,
) -> Shaped[np.ndarray, "X Y Z"]:
    """Resample labels, or a mask, to another grid by the nearest voxel.

    Args:
        labels: Values on ``label_grid``.
        label_grid: Grid of the labels.
        volume_grid: Grid to resample to.
        label_from_volume: Transform from the frame of ``volume_grid`` to that of ``label_grid``.
        outside: Value of voxels whose center is outside ``label_grid``.

    Returns:
        Values on ``volume_grid``; the same array if nothing changes.

    Raises:
        ValueError: If the shape of the labels differs from their grid.
    """
    if labels.shape != label_grid.shape:
        raise ValueError(
            f"labels must have the shape of their grid, {label_grid.shape}, got {labels.shape}"
        )
    if label_grid == volume_grid and np.array_equal(label_from_volume, np.eye(4)):
        return labels
    x, y, z = (
        origin + (np.arange(count) + 0.5) * volume_grid.voxel_m
        for origin, count in zip(volume_grid.origin_m, volume_grid.shape, strict=True)
    )
    index = []
    is_inside = np.ones(volume_grid.shape, bool)
    for row, origin, count in zip(
        label_from_volume, label_grid.origin_m, label_grid.shape, strict=False
    ):
        place = row[0] * x[:, None, None] + row[1] * y[:, None] + (row[2] * z + row[3] - origin)
        voxel = np.floor(place / label_grid.voxel_m).astype(np.int32)
        is_inside &= (voxel >= 0) & (voxel < count)
        index.append(voxel)
    resampled = np.full(volume_grid.shape, outside, labels.dtype)
    resampled[is_inside] = labels[tuple(axis[is_inside] for axis in index)]
    return resampled


def whole_voxels(grid: VoxelGrid, width_m: float) -> int:
    """Return how many voxels fit into a width, as a number that divides the shape of the grid."""
    most = max(1, int(width_m / grid.voxel_m + 1e-6))
    return next(n for n in range(most, 0, -1) if all(count % n == 0 for count in grid.shape))
