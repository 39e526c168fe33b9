"""Sparse 3D convolutions over occupied voxels, in plain torch.

A layer gathers the neighbors of each voxel into one row and does one matrix product, in the forward
and in the backward pass. Weights have spconv's layout: output channels, x, y, z, input channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from model import spconv_backend
from model.voxel_keys import coordinates_of, distinct, keys_of, padding_key

CPU_CHUNK = 2**20
"""Numbers in the rows that a CPU gathers at a time: 4 MB, so that they stay in its cache."""
WIDE = torch.complex128
"""The type with the largest elements, 16 bytes."""
CONVOLUTIONS = ("auto", "torch", "spconv")
"""What trains submanifold convolutions. "auto": spconv on a GPU where it is installed."""


class SparseVoxels(NamedTuple):
    """Features of the occupied voxels of a batch.

    Attributes:
        features: One row per voxel; anything finite in padding.
        coordinates: Frame, x, y, z of each voxel, sorted in this order of significance; then
            padding (``model/voxel_keys.py``).
        shape: Voxels along x, y, z.
        batch_size: Number of frames.
    """

    features: Float[Tensor, "M C"]
    coordinates: Int[Tensor, "M 4"]
    shape: tuple[int, int, int]
    batch_size: int


class SubmanifoldConv(nn.Module):
    """A 3×3×3 submanifold convolution, which keeps the set of occupied voxels.

    Args:
        in_channels: Input channels.
        channels: Output channels.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.weight = _weight(channels, 3, in_channels)

    def forward(
        self, features: Float[Tensor, "M C"], neighbors: "Neighbors"
    ) -> Float[Tensor, "M D"]:
        """Compute features of the same voxels.

        Args:
            features: One row per voxel.
            neighbors: Those of the voxels.
        """
        return neighbors.convolve(features, self.weight)


class DownsampleConv(nn.Module):
    """A 2×2×2 convolution of stride 2.

    An output voxel is occupied if any of its eight input voxels is. The number of input voxels
    along each axis must be even.

    Args:
        in_channels: Input channels.
        channels: Output channels.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.weight = _weight(channels, 2, in_channels)

    def forward(
        self, sparse: SparseVoxels, size: int | None = None
    ) -> tuple[SparseVoxels, Int64[Tensor, ""]]:
        """Compute features of the occupied voxels at half the resolution.

        Args:
            sparse: The voxels.
            size: Number of rows of the result; None: as many as there are occupied voxels.

        Returns:
            The coarse voxels, and their number, which may be larger than ``size``.
        """
        return gather_blocks(sparse, self.weight, size)


class Neighbors:
    """The 3×3×3 neighborhoods of occupied voxels, found once for all layers of a resolution.

    Args:
        sparse: The voxels.
        convolutions: One of ``CONVOLUTIONS``.
    """

    def __init__(self, sparse: SparseVoxels, convolutions: str = "auto") -> None:
        self._convolve: Callable[[Tensor, Tensor], Tensor]
        self.rows: Int64[Tensor, "M 27"] | None = None
        if _trains_with_spconv(sparse.features, convolutions):
            # One more frame, for padding.
            self._convolve = spconv_backend.Submanifold(
                sparse.coordinates, sparse.shape, sparse.batch_size + 1
            )
        else:
            self.rows = neighbor_rows(sparse.coordinates, sparse.shape)
            self._convolve = self._gather

    def convolve(
        self, features: Float[Tensor, "M C"], weight: Float[Tensor, "D 3 3 3 C"]
    ) -> Float[Tensor, "M D"]:
        """Apply a submanifold convolution to features of the voxels."""
        return self._convolve(features, weight)

    def _gather(self, features: Tensor, weight: Tensor) -> Tensor:
        assert self.rows is not None
        return gather_neighbors(features, self.rows, weight)


def neighbor_rows(
    coordinates: Int[Tensor, "M 4"], shape: tuple[int, int, int]
) -> Int64[Tensor, "M 27"]:
    """Return the rows of the voxels in the 3×3×3 neighborhood of each voxel; M for none.

    Args:
        coordinates: Frame, x, y, z of each voxel, sorted.
        shape: Voxels along x, y, z.
    """
    # One voxel of padding keeps all neighbors within the frame's range of keys.
    _, y, z = (n + 2 for n in shape)
    frame, *position = coordinates.long().unbind(1)
    key = frame * (shape[0] + 2)
    for index, length in zip(position, (1, y, z), strict=True):
        key = key * length + index + 1
    step = torch.arange(-1, 2, device=key.device)
    offset = ((step[:, None, None] * y + step[:, None]) * z + step).flatten()
    wanted = key[:, None] + offset
    row = torch.searchsorted(key, wanted)
    is_there = key[row.clamp(max=len(key) - 1)] == wanted
    return row.where(is_there, len(key))


def gather_neighbors(
    features: Float[Tensor, "M C"],
    rows: Int64[Tensor, "M 27"],
    weight: Float[Tensor, "D 3 3 3 C"],
) -> Float[Tensor, "M D"]:
    """Compute a 3×3×3 submanifold convolution.

    Args:
        features: One row per voxel.
        rows: Rows of the neighbors; M for none.
        weight: Weights.
    """
    return _GatherNeighbors.apply(_as_autocast(features), rows, _as_autocast(weight))


class _GatherNeighbors(torch.autograd.Function):
    """The backward pass gathers gradients: j is neighbor k of i where i is neighbor 26 − k of j."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, rows, weight)
        return _times_gathered(features, rows, weight.flatten(1).T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        features, rows, weight = ctx.saved_tensors
        mirrored = weight.flatten(1, 3).flip(1).permute(1, 0, 2).flatten(0, 1)  # (27 · D, C)
        padded, size = _padded(gradient), _chunk(len(mirrored), features)
        of_mirrored, of_features = torch.zeros_like(mirrored), []
        for part, of_part in zip(features.split(size), rows.split(size), strict=True):
            gathered = _gather(padded, of_part)
            of_features.append(gathered @ mirrored)
            of_mirrored += gathered.T @ part
        of_weight = of_mirrored.unflatten(0, (-1, len(weight))).flip(0).transpose(0, 1)
        return torch.cat(of_features), None, of_weight.reshape(weight.shape)


def _times_gathered(
    features: Float[Tensor, "M C"], rows: Int64[Tensor, "M 27"], matrix: Float[Tensor, "C27 D"]
) -> Float[Tensor, "M D"]:
    """Multiply the gathered neighbors of each voxel by a matrix."""
    padded = _padded(features)
    parts = rows.split(_chunk(len(matrix), features))
    products = [_gather(padded, part) @ matrix for part in parts]
    return products[0] if len(products) == 1 else torch.cat(products)


def _chunk(width: int, features: Tensor) -> int:
    """Return the number of rows to gather at a time; a GPU gathers all."""
    return max(1, CPU_CHUNK // width if features.device.type == "cpu" else len(features))


def _padded(features: Float[Tensor, "M C"]) -> Float[Tensor, "M1 C"]:
    """Append the row of missing neighbors, which is 0."""
    return torch.cat([features, features.new_zeros(1, features.shape[1])])


def _gather(padded: Float[Tensor, "M1 C"], rows: Int64[Tensor, "N 27"]) -> Float[Tensor, "N C27"]:
    if padded.device.type == "cpu":
        return padded.index_select(0, rows.flatten()).view(len(rows), -1)
    # Index single elements: for rows this short, CUDA would launch one block per row. It moves an
    # element of 16 bytes as fast as one of 2; compiled code combines them itself.
    width = padded.shape[1]
    is_wide = width * padded.element_size() % WIDE.itemsize == 0
    wide = padded.view(WIDE) if is_wide and not torch.compiler.is_compiling() else padded
    column = torch.arange(wide.shape[1], device=padded.device)
    return wide[rows[:, :, None], column].view(padded.dtype).flatten(1)


def gather_blocks(
    sparse: SparseVoxels, weight: Float[Tensor, "D 2 2 2 C"], size: int | None = None
) -> tuple[SparseVoxels, Int64[Tensor, ""]]:
    """Compute a 2×2×2 convolution of stride 2 as one matrix product.

    Args:
        sparse: The voxels.
        weight: Weights.
        size: Number of rows of the result; None: as many as there are occupied voxels.

    Returns:
        The coarse voxels, and their number, which may be larger than ``size``.
    """
    features = _as_autocast(sparse.features)
    x, y, z = (n // 2 for n in sparse.shape)
    frame, *position = sparse.coordinates.long().unbind(1)
    keys = keys_of((frame, *(index // 2 for index in position)), (x, y, z))
    found = distinct(keys, padding_key((x, y, z), sparse.batch_size), size)
    corner = (position[0] % 2 * 2 + position[1] % 2) * 2 + position[2] % 2
    # Voxels without a row go to one more block, which is cut off.
    blocks = features.new_zeros((len(found.keys) + 1) * 8, features.shape[1])
    blocks = blocks.index_copy(0, found.row * 8 + corner, features)[:-8]
    coarse = blocks.view(len(found.keys), -1) @ weight.flatten(1).T
    coordinates = coordinates_of(found.keys, (x, y, z))
    return SparseVoxels(coarse, coordinates, (x, y, z), sparse.batch_size), found.number


def _weight(channels: int, size: int, in_channels: int) -> nn.Parameter:
    """Draw weights as spconv does, uniform within 1 / sqrt(inputs)."""
    bound = (in_channels * size**3) ** -0.5
    weight = torch.empty(channels, size, size, size, in_channels)
    return nn.Parameter(weight.uniform_(-bound, bound))


def _trains_with_spconv(features: Tensor, convolutions: str) -> bool:
    if convolutions == "torch" or not torch.is_grad_enabled():
        return False
    return convolutions == "spconv" or (features.is_cuda and spconv_backend.is_installed())


def _as_autocast(values: Tensor) -> Tensor:
    """Cast values as autocast would, before rather than after they are copied 27 times."""
    kind = values.device.type
    if not torch.is_autocast_enabled(kind):
        return values
    return values.to(torch.get_autocast_dtype(kind))
