"""Sparse 3D convolutions over occupied voxels, with the fastest algorithm for each device.

The layers and their weights are spconv's. On a CPU, and in training on a GPU, spconv computes them.
In inference on a GPU, the layers gather each voxel's neighbors into one row and do one matrix
product: the few ten thousand voxels of a frame keep a GPU busy for microseconds only, and spconv's
setup of a layer on the CPU takes longer than that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, Int64
from spconv.core import ConvAlgo
from spconv.pytorch import SparseConv3d, SparseConvTensor, SubMConv3d
from spconv.pytorch.conv import SparseConvolution
from torch import Tensor


def sparse_tensor(
    features: Float[Tensor, "M C"],
    coordinates: Int[Tensor, "M 4"],
    shape: tuple[int, int, int],
    batch_size: int,
) -> SparseConvTensor:
    """Build a tensor for spconv, whose results are silently wrong for column-major indices.

    Args:
        features: One row per voxel.
        coordinates: Frame, x, y, z of each voxel, sorted in this order of significance.
        shape: Voxels along x, y, z.
        batch_size: Number of frames.
    """
    indices = coordinates.int().contiguous()
    return SparseConvTensor(features.contiguous(), indices, list(shape), batch_size)


class SubmanifoldConv(SubMConv3d):
    """A 3×3×3 submanifold convolution, which keeps the set of occupied voxels.

    Args:
        in_channels: Input channels.
        channels: Output channels.
        key: Layers with the same key share one neighbor search; use one key per resolution.
    """

    def __init__(self, in_channels: int, channels: int, *, key: str) -> None:
        super().__init__(in_channels, channels, 3, bias=False, indice_key=key)

    def forward(self, sparse: SparseConvTensor) -> SparseConvTensor:
        """Compute features of the same voxels."""
        if not uses_gather(sparse.features):
            return spconv_forward(self, sparse)
        key = f"{self.indice_key} gathered"
        rows = sparse.indice_dict.get(key)
        if rows is None:
            rows = neighbor_rows(sparse.indices, sparse.spatial_shape)
        result = sparse.replace_feature(gather_neighbors(sparse.features, rows, self.weight))
        result.indice_dict = sparse.indice_dict | {key: rows}
        return result


class DownsampleConv(SparseConv3d):
    """A 2×2×2 convolution of stride 2.

    An output voxel is occupied if any of its eight input voxels is. The number of input voxels
    along each axis must be even.

    Args:
        in_channels: Input channels.
        channels: Output channels.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 2, stride=2, bias=False)

    def forward(self, sparse: SparseConvTensor) -> SparseConvTensor:
        """Compute features of the occupied voxels at half the resolution."""
        if not uses_gather(sparse.features):
            return spconv_forward(self, sparse)
        x, y, z = (n // 2 for n in sparse.spatial_shape)
        features, coordinates = gather_blocks(
            sparse.features, sparse.indices, (x, y, z), self.weight
        )
        return sparse_tensor(features, coordinates, (x, y, z), sparse.batch_size)


def uses_gather(features: Tensor) -> bool:
    """Return whether to gather neighbors rather than use spconv, for these features."""
    return features.is_cuda and not torch.is_grad_enabled()


def spconv_forward(layer: SparseConvolution, sparse: SparseConvTensor) -> SparseConvTensor:
    """Apply a layer with spconv, using the algorithm for the device.

    The CPU algorithm supports only float32, so autocast is disabled for it.
    """
    if sparse.features.device.type != "cpu":
        layer.algo = ConvAlgo.MaskImplicitGemm
        with _training_if_grad_enabled(layer):
            return SparseConvolution.forward(layer, sparse)
    layer.algo = ConvAlgo.Native
    with torch.autocast("cpu", enabled=False):
        return SparseConvolution.forward(layer, sparse.replace_feature(sparse.features.float()))


@contextmanager
def _training_if_grad_enabled(layer: SparseConvolution) -> Iterator[None]:
    """Let a spconv layer compute gradients whenever torch does, e.g. for fine-tuning in ``eval()``.

    The GPU algorithm computes them in training mode only, and silently omits them otherwise.
    """
    mode = layer.training
    layer.training = torch.is_grad_enabled()
    try:
        yield
    finally:
        layer.training = mode


def neighbor_rows(coordinates: Int[Tensor, "M 4"], shape: list[int]) -> Int64[Tensor, "M 27"]:
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
    """Compute a 3×3×3 convolution as one matrix product.

    Args:
        features: One row per voxel.
        rows: Rows of the neighbors; M for none.
        weight: Weights in spconv's layout.
    """
    features = _as_autocast(features)
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    # Index single elements: for rows this short, CUDA would launch one block per row.
    column = torch.arange(features.shape[1], device=features.device)
    return padded[rows[:, :, None], column].flatten(1) @ weight.flatten(1).T


def gather_blocks(
    features: Float[Tensor, "M C"],
    coordinates: Int[Tensor, "M 4"],
    shape: tuple[int, int, int],
    weight: Float[Tensor, "D 2 2 2 C"],
) -> tuple[Float[Tensor, "L D"], Int64[Tensor, "L 4"]]:
    """Compute a 2×2×2 convolution of stride 2 as one matrix product.

    Args:
        features: One row per voxel.
        coordinates: Frame, x, y, z of each voxel.
        shape: Output voxels along x, y, z.
        weight: Weights in spconv's layout.

    Returns:
        Features, and frame, x, y, z of each output voxel, sorted.
    """
    features = _as_autocast(features)
    _, height, depth = shape
    frame, x, y, z = coordinates.long().unbind(1)
    key = ((frame * shape[0] + x // 2) * height + y // 2) * depth + z // 2
    keys, row = torch.unique(key, return_inverse=True)
    corner = (x % 2 * 2 + y % 2) * 2 + z % 2
    blocks = features.new_zeros(len(keys) * 8, features.shape[1])
    blocks.index_copy_(0, row * 8 + corner, features)
    column = keys // depth
    parts = [column // (height * shape[0]), column // height % shape[0], column % height]
    coarse = torch.stack([*parts, keys % depth], dim=1)
    return blocks.view(len(keys), -1) @ weight.flatten(1).T, coarse


def _as_autocast(features: Tensor) -> Tensor:
    """Cast features as autocast would, before rather than after they are copied 27 times."""
    kind = features.device.type
    if not torch.is_autocast_enabled(kind):
        return features
    return features.to(torch.get_autocast_dtype(kind))
