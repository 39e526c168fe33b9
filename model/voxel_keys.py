"""Numbers that stand for voxels: they sort voxels by frame, x, y, z, and find those of points.

The number of occupied voxels differs between frames, and only the device knows it. Tables of voxels
therefore have a fixed number of rows where the host must not wait for the device. Rows past the
last voxel are padding: their coordinates are (batch size, 0, 0, 0), one frame past the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int, Int64
from torch import Tensor


class Distinct(NamedTuple):
    """The distinct keys among many.

    Attributes:
        keys: In order, then padding.
        row: Row of each of the many keys in ``keys``; M if it has none.
        number: Number of distinct keys; more than M if some have no row.
    """

    keys: Int64[Tensor, "M"]
    row: Int64[Tensor, "N"]
    number: Int64[Tensor, ""]


def keys_of(
    coordinates: Sequence[Int[Tensor, "N"]], shape: tuple[int, int, int]
) -> Int64[Tensor, "N"]:
    """Return the keys of voxels.

    Args:
        coordinates: Frame, x, y, z of each voxel.
        shape: Voxels along x, y, z.
    """
    key, *position = coordinates
    key = key.long()
    for index, length in zip(position, shape, strict=True):
        key = key * length + index
    return key


def coordinates_of(keys: Int64[Tensor, "N"], shape: tuple[int, int, int]) -> Int64[Tensor, "N 4"]:
    """Return frame, x, y, z of each voxel: the inverse of ``keys_of``."""
    x, y, z = shape
    return torch.stack([keys // (x * y * z), keys // (y * z) % x, keys // z % y, keys % z], dim=1)


def padding_key(shape: tuple[int, int, int], batch_size: int) -> int:
    """Return the key of padding, which is larger than that of any voxel."""
    return batch_size * shape[0] * shape[1] * shape[2]


def distinct(keys: Int64[Tensor, "N"], padding: int, size: int | None) -> Distinct:
    """Find the distinct keys.

    Args:
        keys: Keys, in any order; those from ``padding`` on are ignored.
        padding: The key of padding.
        size: Number of rows; keys that find no room have no row. None: as many as there are
            distinct keys, but at least one, for which the host waits for the device.
    """
    in_order, order = keys.sort()
    is_voxel = in_order < padding
    is_first = torch.cat([is_voxel[:1], (in_order[1:] != in_order[:-1]) & is_voxel[1:]])
    number = is_first.sum()
    rows = max(int(number), 1) if size is None else size
    row = (is_first.cumsum(0) - 1).masked_fill(~is_voxel, rows).clamp(max=rows)
    found = keys.new_full((rows + 1,), padding).scatter(0, row, in_order)
    return Distinct(found[:-1], torch.empty_like(row).scatter(0, order, row), number)
