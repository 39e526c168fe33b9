"""Voxelization without a limit on the points per voxel, and by default none on the voxels."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from model.voxel_keys import coordinates_of, distinct, keys_of, padding_key
from utils.geometry import VoxelGrid

NUM_POINT_FEATURES = 9
NUM_VOXEL_FEATURES = NUM_POINT_FEATURES + 6 + 1

_RANGE_SCALE_M = 50.0
"""Scales ranges to about 1."""


class Voxels(NamedTuple):
    """The voxels of a batch that contain points, and the points.

    Attributes:
        coordinates: Frame, x, y, z of each voxel, sorted in this order; rows are unique. Then
            padding (``model/voxel_keys.py``).
        points: The points, frame by frame.
        voxel_of_point: Row of each point's voxel; M for points outside the grid.
        num_points: Number of points in each voxel; 0 in padding.
        number: Number of voxels that contain points; more than M if some have no row.
    """

    coordinates: Int64[Tensor, "M 4"]
    points: Float[Tensor, "P F"]
    voxel_of_point: Int64[Tensor, "P"]
    num_points: Int32[Tensor, "M"]
    number: Int64[Tensor, ""]


def voxelize(
    points: Sequence[Float[Tensor, "_ F"]], grid: VoxelGrid, size: int | None = None
) -> Voxels:
    """Assign the points of a batch to voxels.

    Args:
        points: x, y, z [m] and other columns, frame by frame; points outside the grid are in no
            voxel.
        grid: The grid.
        size: Number of rows; None: as many as there are voxels, but at least one.
    """
    # Column by column in memory: a CPU is several times faster along columns than along short rows.
    cloud = torch.cat(list(points)).T.contiguous().T
    frames = [cloud.new_full((len(frame),), n, dtype=torch.long) for n, frame in enumerate(points)]
    index = torch.floor(grid.voxel_from_meters(cloud[:, :3])).long()
    keys = keys_of((torch.cat(frames), *index.unbind(1)), grid.shape)
    padding = padding_key(grid.shape, len(points))
    keys = keys.masked_fill(~grid.contains(cloud[:, :3]), padding)
    found = distinct(keys, padding, size)
    # Not int64, whose atomic additions compiled code would replace by one thread per voxel.
    ones = torch.ones_like(found.row, dtype=torch.int32)
    count = ones.new_zeros(len(found.keys) + 1).index_add(0, found.row, ones)[:-1]
    coordinates = coordinates_of(found.keys, grid.shape)
    return Voxels(coordinates, cloud, found.row, count, found.number)


def voxel_features(voxels: Voxels, grid: VoxelGrid, intensity_max: float) -> Float[Tensor, "M 16"]:
    """Compute statistics of the points in each voxel, scaled to about 1, without gradients.

    These are the means of the points' offset from the voxel center (3, in voxels), position in the
    grid (3, in -1..1), log(1 + intensity), range and age [s]; the covariance of the offsets (6),
    which tells a plane from a pole and gives its orientation; and the log of the number of points.
    Voxels are about as small as label voxels. So these statistics are as informative as a network
    over the points, and no per-point activations are stored for the backward pass.

    Args:
        voxels: The voxels; points have x, y, z [m], intensity 0–1, and optionally age [s].
        grid: The grid of the voxels.
        intensity_max: The intensity is multiplied by this before the logarithm.

    Raises:
        ValueError: If the points do not have these columns.
    """
    points = voxels.points.float()
    if points.shape[1] not in (4, 5):
        raise ValueError(
            "points must have the columns x, y, z, intensity and, with several sweeps, age; "
            f"got {points.shape[1]} columns"
        )
    position = grid.voxel_from_meters(points[:, :3])
    offset = position - torch.floor(position) - 0.5
    in_grid = grid.sampling_from_meters(points[:, :3]).flip(-1)
    intensity = (intensity_max * points[:, 3:4].clamp(min=0)).log1p()
    range_m = points[:, :3].square().sum(dim=1, keepdim=True).sqrt()
    age = points[:, 4:5] if points.shape[1] == 5 else torch.zeros_like(intensity)
    columns = [offset, in_grid, intensity, range_m / _RANGE_SCALE_M, age, _products(offset)]
    mean = voxel_mean(torch.cat(columns, dim=1), voxels)
    covariance = mean[:, NUM_POINT_FEATURES:] - _products(mean[:, :3])
    log_count = voxels.num_points[:, None].clamp(min=1).to(mean.dtype).log()
    return torch.cat([mean[:, :NUM_POINT_FEATURES], covariance, log_count], dim=1)


def _products(offset: Float[Tensor, "N 3"]) -> Float[Tensor, "N 6"]:
    """Multiply each pair of x, y and z."""
    return torch.stack(
        [one * other for one, other in combinations_with_replacement(offset.unbind(1), 2)], dim=1
    )


def voxel_mean(values: Float[Tensor, "P C"], voxels: Voxels) -> Float[Tensor, "M C"]:
    """Average the values of the points in each voxel; 0 in padding."""
    # Points outside the grid add to one more row, which is cut off.
    total = values.new_zeros(len(voxels.num_points) + 1, values.shape[1])
    total = total.index_add(0, voxels.voxel_of_point, values)[:-1]
    return total / voxels.num_points.clamp(min=1)[:, None]


def to_dense(
    features: Float[Tensor, "M C"],
    coordinates: Int[Tensor, "M 4"],
    shape: tuple[int, int, int],
    batch_size: int,
) -> Float[Tensor, "B C X Y Z"]:
    """Scatter voxel features into a dense volume that is 0 elsewhere (channels_last_3d).

    Args:
        features: One row per voxel.
        coordinates: Frame, x, y, z of each voxel; rows are unique, but for padding.
        shape: Voxels of the volume along x, y, z.
        batch_size: Number of frames.
    """
    # The key of padding is that of one more cell, which is cut off.
    cells = features.new_zeros(padding_key(shape, batch_size) + 1, features.shape[1])
    cells = cells.index_copy_(0, keys_of(coordinates.unbind(1), shape), features)[:-1]
    return cells.view(batch_size, *shape, -1).permute(0, 4, 1, 2, 3)
