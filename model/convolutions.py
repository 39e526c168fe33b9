"""3D convolutions in the form that a device computes fastest; weights are those of torch's layers.

cuDNN has fast kernels for some numbers of channels only. Zeros among the inputs and weights, or
outputs that are thrown away, make others take up to 40 % less time.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d, conv_transpose3d, linear, pad

FLAT = 2
"""Layers of voxels up to which a CPU computes 3D convolutions in 2D."""


class PaddedConv3d(nn.Conv3d):
    """A convolution that runs with more channels on a GPU.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Size of the kernel along each axis.
        padded: Input and output channels that it runs with, if that is more.
        options: As for ``nn.Conv3d``, for one group.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padded: tuple[int, int],
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.more = (max(0, padded[0] - in_channels), max(0, padded[1] - out_channels))

    def forward(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B D X2 Y2 Z2"]:
        """Convolve a volume."""
        return self.forward_padded(volume) if volume.is_cuda else super().forward(volume)

    def forward_padded(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B D X2 Y2 Z2"]:
        """Convolve a volume with more channels."""
        more_inputs, more_outputs = self.more
        weight = pad(self.weight, (0, 0, 0, 0, 0, 0, 0, more_inputs, 0, more_outputs))
        bias = None if self.bias is None else pad(self.bias, (0, more_outputs))
        padded = pad(volume, (0, 0, 0, 0, 0, 0, 0, more_inputs)) if more_inputs else volume
        convolved: Tensor = conv3d(padded, weight, bias, self.stride, self.padding, self.dilation)
        return convolved[:, : self.out_channels]


class FlatConv3d(nn.Conv3d):
    """A 3×3×3 convolution of stride 1 that a CPU computes in 2D where the volume is flat.

    torch hands small 3D convolutions of one frame to a slow implementation. With two layers of
    voxels or one, a 2D convolution from the channels of all layers to those of all layers has no
    product that the 3D one has not.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B D X Y Z"]:
        """Convolve a volume."""
        is_flat = volume.shape[-1] <= FLAT and not volume.is_cuda
        return self.forward_flat(volume) if is_flat else super().forward(volume)

    def forward_flat(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B D X Y Z"]:
        """Convolve a volume in 2D."""
        layers = volume.shape[-1]
        # Layer i of the output sees layer j of the input through slice j − i + 1 of the kernel.
        slices = pad(self.weight, (layers - 1, layers - 1))
        seen = [slices[..., layers - i :][..., :layers] for i in range(layers)]
        weight = torch.stack(seen, dim=1).permute(0, 1, 2, 5, 3, 4).flatten(2, 3).flatten(0, 1)
        stacked = volume.permute(0, 1, 4, 2, 3).flatten(1, 2)
        convolved = conv2d(stacked, weight, padding=1)
        return convolved.unflatten(1, (-1, layers)).permute(0, 1, 3, 4, 2)


class BlockUpsample(nn.Module):
    """A transposed convolution whose kernel is its stride; on a GPU one matrix product.

    Each voxel becomes a block of voxels, each by a matrix of its own.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        factor: Voxels of a block along each axis.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor, self.out_channels = factor, out_channels
        layer = nn.ConvTranspose3d(in_channels, out_channels, factor, stride=factor)
        assert layer.bias is not None
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, volume: Float[Tensor, "B C x y z"]) -> Float[Tensor, "B D X Y Z"]:
        """Upsample a volume."""
        if volume.is_cuda:
            return self.forward_product(volume)
        return conv_transpose3d(volume, self.weight, self.bias, stride=self.factor)

    def forward_product(self, volume: Float[Tensor, "B C x y z"]) -> Float[Tensor, "B D X Y Z"]:
        """Upsample a volume by a product; the result is in the memory format channels last."""
        weight = self.weight.permute(2, 3, 4, 1, 0).flatten(0, 3)
        blocks = linear(volume.permute(0, 2, 3, 4, 1), weight, self.bias.repeat(self.factor**3))
        blocks = blocks.unflatten(-1, (*(self.factor,) * 3, self.out_channels))
        upsampled = blocks.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return upsampled.permute(0, 4, 1, 2, 3)
