"""Sparse 3D convolutions over occupied voxels, each by the way that is fast where it runs.

The layers are spconv's, with its weights. It computes in training on a GPU, and always on a CPU.
Without gradients on a GPU the layers gather each voxel's neighbours into one row and multiply once:
a frame's few ten thousand voxels keep a GPU busy for microseconds, and spconv's preparations of a
layer take a processor longer than that.
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
    """A tensor for spconv, which silently computes nonsense from indices that lie column-wise.

    Args:
        features: One row a voxel.
        coordinates: Frame, x, y, z of each voxel, sorted in this order of significance.
        shape: Voxels along x, y, z.
        batch_size: Number of frames.
    """
    indices = coordinates.int().contiguous()
    return SparseConvTensor(features.contiguous(), indices, list(shape), batch_size)


class Submanifold(SubMConv3d):
    """A 3×3×3 convolution that keeps the occupied voxels as they are.

    Args:
        in_channels: Channels before.
        channels: Channels after.
        key: Layers of one key share the search for neighbours: those at one resolution.
    """

    def __init__(self, in_channels: int, channels: int, *, key: str) -> None:
        super().__init__(in_channels, channels, 3, bias=False, indice_key=key)

    def forward(self, sparse: SparseConvTensor) -> SparseConvTensor:
        """Features of the same voxels."""
        if not gathers(sparse.features):
            return by_spconv(self, sparse)
        key = f"{self.indice_key} gathered"
        rows = sparse.indice_dict.get(key)
        if rows is None:
            rows = neighbor_rows(sparse.indices, sparse.spatial_shape)
        result = sparse.replace_feature(gather_neighbors(sparse.features, rows, self.weight))
        result.indice_dict = sparse.indice_dict | {key: rows}
        return result


class Halving(SparseConv3d):
    """A 2×2×2 convolution from each eight voxels to the one that covers them.

    It makes a voxel of every eight with anything in them, and no others. Their number along each
    axis must be even.

    Args:
        in_channels: Channels before.
        channels: Channels after.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 2, stride=2, bias=False)

    def forward(self, sparse: SparseConvTensor) -> SparseConvTensor:
        """Features of the voxels twice as wide that are occupied."""
        if not gathers(sparse.features):
            return by_spconv(self, sparse)
        x, y, z = (n // 2 for n in sparse.spatial_shape)
        features, coordinates = gather_eights(
            sparse.features, sparse.indices, (x, y, z), self.weight
        )
        return sparse_tensor(features, coordinates, (x, y, z), sparse.batch_size)


def gathers(features: Tensor) -> bool:
    """Whether a convolution of these features gathers, or leaves the work to spconv."""
    return features.is_cuda and not torch.is_grad_enabled()


def by_spconv(layer: SparseConvolution, sparse: SparseConvTensor) -> SparseConvTensor:
    """Apply a layer by the algorithm of spconv's that the device has.

    On a CPU there is one, for float32. It must not see what autocast would give it.
    """
    if sparse.features.device.type != "cpu":
        layer.algo = ConvAlgo.MaskImplicitGemm
        with _training_where_gradients_are(layer):
            return SparseConvolution.forward(layer, sparse)
    layer.algo = ConvAlgo.Native
    with torch.autocast("cpu", enabled=False):
        return SparseConvolution.forward(layer, sparse.replace_feature(sparse.features.float()))


@contextmanager
def _training_where_gradients_are(layer: SparseConvolution) -> Iterator[None]:
    """Have a layer of spconv's give gradients where torch does, as in fine-tuning in ``eval()``.

    A GPU's algorithm gives them in training mode only, and in the other says nothing of it.
    """
    mode = layer.training
    layer.training = torch.is_grad_enabled()
    try:
        yield
    finally:
        layer.training = mode


def neighbor_rows(coordinates: Int[Tensor, "M 4"], shape: list[int]) -> Int64[Tensor, "M 27"]:
    """Row of each voxel's neighbours in the 3×3×3 around it, itself included; M for none.

    Args:
        coordinates: Frame, x, y, z of each voxel, sorted.
        shape: Voxels along x, y, z.
    """
    # With a layer of voxels around it, no neighbour leaves a frame's box.
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
    """A 3×3×3 convolution as one matrix product.

    Args:
        features: One row a voxel.
        rows: Rows of the neighbours, M for none.
        weight: In spconv's order.
    """
    features = _as_autocast(features)
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    # Element by element: to copy whole rows as short as these, CUDA starts a block for each.
    column = torch.arange(features.shape[1], device=features.device)
    return padded[rows[:, :, None], column].flatten(1) @ weight.flatten(1).T


def gather_eights(
    features: Float[Tensor, "M C"],
    coordinates: Int[Tensor, "M 4"],
    shape: tuple[int, int, int],
    weight: Float[Tensor, "D 2 2 2 C"],
) -> tuple[Float[Tensor, "L D"], Int64[Tensor, "L 4"]]:
    """A 2×2×2 convolution of stride 2 as one matrix product.

    Args:
        features: One row a voxel.
        coordinates: Frame, x, y, z of each voxel.
        shape: Voxels along x, y, z afterwards.
        weight: In spconv's order.

    Returns:
        Features, and frame, x, y, z of each of the larger voxels, sorted.
    """
    features = _as_autocast(features)
    _, height, depth = shape
    frame, x, y, z = coordinates.long().unbind(1)
    key = ((frame * shape[0] + x // 2) * height + y // 2) * depth + z // 2
    keys, row = torch.unique(key, return_inverse=True)
    corner = (x % 2 * 2 + y % 2) * 2 + z % 2
    eights = features.new_zeros(len(keys) * 8, features.shape[1])
    eights.index_copy_(0, row * 8 + corner, features)
    column = keys // depth
    parts = [column // (height * shape[0]), column // height % shape[0], column % height]
    larger = torch.stack([*parts, keys % depth], dim=1)
    return eights.view(len(keys), -1) @ weight.flatten(1).T, larger


def _as_autocast(features: Tensor) -> Tensor:
    """The features rounded as autocast would, before they are copied 27 times and not after."""
    kind = features.device.type
    if not torch.is_autocast_enabled(kind):
        return features
    return features.to(torch.get_autocast_dtype(kind))
