"""The 3D decoder: a compact U-Net over the fused volume."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.convolutions import BlockUpsample, FlatConv3d
from utils.registry import MODELS


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions beside a shortcut; the first may halve the resolution.

    Batch normalization: a volume has 10⁴ positions or more even at batch size 1, the layer can be
    folded into the convolution at inference, and unlike group normalization it keeps the
    channels_last_3d memory format on a GPU.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = (
            FlatConv3d(in_channels, channels)
            if stride == 1
            else nn.Conv3d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        )
        self.first_norm = nn.BatchNorm3d(channels)
        self.second = FlatConv3d(channels, channels)
        self.second_norm = nn.BatchNorm3d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, channels, stride, stride=stride, bias=False),
                nn.BatchNorm3d(channels),
            )

    def forward(
        self, volume: Float[Tensor, "B in_channels X Y Z"]
    ) -> Float[Tensor, "B C X2 Y2 Z2"]:
        """Features of the volume, at 1/stride of its resolution."""
        inner = torch.relu(self.first_norm(self.first(volume)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(volume))


@MODELS.register_module()
class UNet3d(nn.Module):
    """Residual blocks at several resolutions, with additive skip connections.

    Args:
        in_channels: Channels of the volume.
        shape: Voxels of the volume along x, y, z.
        channels: Channels at each resolution, finest first; the first is the output's.

    Raises:
        ValueError: If the shape cannot be halved once per resolution after the first.
    """

    def __init__(
        self, in_channels: int, shape: tuple[int, int, int], channels: Sequence[int]
    ) -> None:
        super().__init__()
        factor = 2 ** (len(channels) - 1)
        if any(n % factor for n in shape):
            raise ValueError(
                f"{len(channels)} resolutions need a volume divisible by {factor}, got {shape}"
            )
        self.channels = channels[0]
        widths = (in_channels, *channels)
        self.down = nn.ModuleList(
            ResidualBlock(before, after, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        self.up = nn.ModuleList(
            BlockUpsample(coarse, fine, 2) for fine, coarse in pairwise(channels)
        )
        self.refine = nn.ModuleList(ResidualBlock(fine, fine) for fine in channels[:-1])

    def forward(self, volume: Float[Tensor, "B in_channels X Y Z"]) -> Float[Tensor, "B C X Y Z"]:
        """Features with the context of the whole scene, at the resolution of the volume."""
        levels = []
        for block in self.down:
            volume = block(volume)
            levels.append(volume)
        for level in reversed(range(len(self.up))):
            volume = self.refine[level](levels[level] + self.up[level](volume))
        return volume
