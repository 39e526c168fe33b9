"""The elevation head: heights of small cells of the ground ahead.

The decoded columns say where the ground is to within a voxel; returns of the LiDAR say it to within
a centimetre, but only where there are any. The head lays a surface through the returns and learns
by how much it is wrong, from what the decoded columns hold there.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from utils.elevation import ElevationGrid, fill_gaps, mean_heights
from utils.geometry import VoxelGrid
from utils.registry import MODELS

MARGIN = 8
"""Least number of cells around the region that are looked at too."""
DETAIL_CELLS = 9
"""Detail is what differs from the mean of so many cells along each axis."""
UNIT_M = 0.1
"""Corrections and details are about as large as this."""


@MODELS.register_module()
class ElevationHead(nn.Module):
    """Mean height of each cell of a region, in the LiDAR frame.

    Args:
        in_channels: Channels of the decoded volume.
        grid: Where the decoded volume stands.
        uses_points: Whether there are LiDAR points to lay a surface through.
        cells: Where the cells lie, as of ``ElevationGrid``.
        channels: Channels of the correction at each resolution, from the cells on; each is half
            the resolution of the one before.
        context_channels: Channels of the decoded columns that the correction sees.

    Raises:
        ValueError: If there are no cells or they leave the grid.
    """

    def __init__(
        self,
        in_channels: int,
        grid: VoxelGrid,
        uses_points: bool,
        cells: ElevationGrid | Mapping[str, Any],
        channels: Sequence[int] = (24, 32, 48, 64),
        context_channels: int = 16,
    ) -> None:
        super().__init__()
        self.cells = ElevationGrid.from_config(cells)
        _check_inside(self.cells, grid)
        self.grid, self.uses_points = grid, uses_points
        self.wide, self.first = self.cells.widen(MARGIN, 2 ** (len(channels) - 1))
        self.columns = nn.Conv3d(in_channels, 1 + context_channels, 1)
        self.correction = MapUNet((5 if uses_points else 2) + context_channels, channels)

    def forward(
        self,
        decoded: Float[Tensor, "B in_channels X Y Z"],
        points: Sequence[Float[Tensor, "_ F"]] | None,
    ) -> Float[Tensor, "B rows cols"]:
        """Heights of the cells [m], in float32 also under autocast.

        Args:
            decoded: Features at the feature grid.
            points: x, y, z [m] and more, frame by frame; None: the head was built without.
        """
        assert (points is not None) == self.uses_points, "built for another modality"
        with torch.autocast(decoded.device.type, enabled=False):
            expected, context = self._columns(decoded.float())
            surface, evidence = expected, []
            if points is not None:
                height, count = mean_heights(points, self.wide)
                has_returns = (count > 0).any(-1).any(-1)[..., None, None]
                surface = torch.where(has_returns, fill_gaps(height, count > 0), expected)
                evidence = [(count > 0).float(), count.log1p(), expected - surface]
            level = surface.mean((-2, -1), keepdim=True)
            detail = (surface - _local_mean(surface)) / UNIT_M
            seen = torch.cat([surface - level, detail.clamp(-5, 5), *evidence, context], dim=1)
            wide = surface + UNIT_M * self.correction(seen)
        (row, column), (rows, columns) = self.first, self.cells.shape
        return wide[:, 0, row : row + rows, column : column + columns]

    def _columns(
        self, decoded: Float[Tensor, "B in_channels X Y Z"]
    ) -> tuple[Float[Tensor, "B 1 rows cols"], Float[Tensor, "B C rows cols"]]:
        """Expected height of the ground [m], and the features there, of the wide region's cells."""
        scores, features = self.columns(decoded).split([1, self.columns.out_channels - 1], dim=1)
        share = scores.softmax(dim=-1)
        heights = self.grid.centers_m(decoded.device)[0, 0, :, 2]
        maps = torch.cat([share * heights, share * features], dim=1).sum(-1)  # (B, 1 + C, X, Y)
        centers = self.wide.centers_m(decoded.device)
        where = self.grid.sampling_from_metres(nn.functional.pad(centers, (0, 1)))[..., 1:]
        where = where.expand(len(maps), -1, -1, -1)
        sampled = grid_sample(maps, where, padding_mode="border", align_corners=False)
        return sampled[:, :1], sampled[:, 1:]


class MapUNet(nn.Module):
    """Convolutions over a map at several resolutions, to one channel that begins as 0.

    Group normalisation: the same in training and inference, however few frames a batch has.

    Args:
        in_channels: Channels of the map.
        channels: Channels at each resolution, finest first.
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.down = nn.ModuleList(
            convolutions(before, after, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        self.widen = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(convolutions(fine, fine) for fine in channels[:-1])
        self.out = nn.Conv2d(channels[0], 1, 1)
        self.out.weight = nn.Parameter(torch.zeros_like(self.out.weight))
        self.out.bias = nn.Parameter(torch.zeros(1))

    def forward(self, values: Float[Tensor, "B in_channels H W"]) -> Float[Tensor, "B 1 H W"]:
        """One value for each cell."""
        levels = []
        for block in self.down:
            values = block(values)
            levels.append(values)
        for level in reversed(range(len(self.up))):
            coarse = interpolate(
                self.widen[level](values), scale_factor=2, mode="bilinear", align_corners=False
            )
            values = self.up[level](levels[level] + coarse)
        return self.out(values)


def convolutions(in_channels: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    """Two 3×3 convolutions, each with its normalisation; the first may halve the resolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(gcd(8, channels), channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(gcd(8, channels), channels),
        nn.ReLU(inplace=True),
    )


def _local_mean(values: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    return avg_pool2d(
        values, DETAIL_CELLS, stride=1, padding=DETAIL_CELLS // 2, count_include_pad=False
    )


def _check_inside(cells: ElevationGrid, grid: VoxelGrid) -> None:
    """Refuse cells of which the decoded volume knows nothing."""
    for axis, ends in enumerate(zip(cells.near_right_m, cells.far_left_m, strict=True)):
        low, high = grid.origin_m[axis], grid.end_m[axis]
        if ends[0] < low or ends[1] > high:
            raise ValueError(
                f"the elevation cells' {'xy'[axis]} {ends} m leaves the grid, which goes from "
                f"{low:g} to {high:g} m"
            )
