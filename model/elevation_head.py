"""The elevation head: heights of small cells of the ground ahead.

The decoded columns locate the ground to within a voxel. LiDAR points locate it to within a
centimeter, but only where there are any, and some come from dust. The head fits several surfaces to
the points, each suited to another kind of ground. From the points and decoded columns around a cell
it learns which surface to follow, and a correction.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    grid_sample,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
)

from dataset.elevation import (
    COARSEST_CELLS,
    ElevationGrid,
    credible,
    lay_surface,
    mean_heights,
)
from utils.geometry import VoxelGrid
from utils.registry import MODELS

MARGIN = 16
"""Minimum number of cells around the map that the network also sees."""
DETAIL_CELLS = 9
"""Detail is the difference from the mean of this many cells along each axis."""
UNIT_M = 0.1
"""Typical size of corrections and details."""
STRETCHES = ((True, 3.0), (True, 1.0), (True, 6.0), (False, 1.0))
"""The surfaces: whether outliers count less, and how far each point extends along the road."""
FIRST_TRUST = (3.0, 0.0, 0.0, 0.0, -4.0)
"""Initial logits of these and of the columns' height: weights of 87, 4, 4, 4 and 0.1 %."""
_EVIDENCE = 3
"""Number of maps that describe the points."""
BLOCK = 2
"""Cells along an edge of the blocks that the network sees; its output is for each cell."""


@MODELS.register_module()
class ElevationHead(nn.Module):
    """Mean height of each cell of a region, in the LiDAR frame.

    Args:
        in_channels: Channels of the decoded volume.
        grid: Grid of the decoded volume.
        uses_points: Whether there are LiDAR points to fit a surface to.
        cells: The cells, or the arguments of ``ElevationGrid``.
        channels: Channels of the network at each resolution, from two cells on; each resolution is
            half of the one before.
        context_channels: Channels of the decoded columns that the network sees.

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
        multiple = max(COARSEST_CELLS, BLOCK * 2 ** (len(channels) - 1))
        self.wide, self.first = self.cells.widen(MARGIN, multiple)
        self.columns = nn.Conv3d(in_channels, 1 + context_channels, 1)
        surfaces = len(STRETCHES) if uses_points else 0
        seen = 2 + (surfaces + _EVIDENCE if uses_points else 0)
        self.network = MapUNet(
            BLOCK**2 * seen + context_channels, channels, BLOCK**2 * (2 + surfaces)
        )
        trust = torch.tensor(FIRST_TRUST[-1 - surfaces :])
        self.register_buffer("first_trust", trust.view(-1, 1, 1), persistent=False)

    def forward(
        self,
        decoded: Float[Tensor, "B in_channels X Y Z"],
        points: Sequence[Float[Tensor, "_ F"]] | None,
    ) -> Float[Tensor, "B rows cols"]:
        """Heights of the cells [m], in float32 also under autocast.

        Args:
            decoded: Features on the feature grid.
            points: x, y, z [m] and more, frame by frame; None if the head was built without.
        """
        assert (points is not None) == self.uses_points, "built for another modality"
        with torch.autocast(decoded.device.type, enabled=False):
            expected, context = self._columns(decoded.float())
            surfaces, seen = [expected], _looks_of([expected])
            if points is not None:
                laid, evidence = surfaces_through(points, self.wide)
                has_returns = (evidence[0] > 0).any(-1).any(-1)[..., None, None]
                surfaces = [*(torch.where(has_returns, one, expected) for one in laid), expected]
                seen = [*_looks_of(surfaces), *evidence]
            blocks = pixel_unshuffle(torch.cat(seen, dim=1), BLOCK)
            answer = self.network(torch.cat([blocks, avg_pool2d(context, BLOCK)], dim=1))
            correction, logits = pixel_shuffle(answer, BLOCK).split([1, len(surfaces)], dim=1)
            trust = (logits + self.first_trust).softmax(dim=1)  # (B, surfaces, rows, columns)
            wide = (trust * torch.cat(surfaces, dim=1)).sum(1) + UNIT_M * correction[:, 0]
        (row, column), (rows, columns) = self.first, self.cells.shape
        return wide[:, row : row + rows, column : column + columns]

    def _columns(
        self, decoded: Float[Tensor, "B in_channels X Y Z"]
    ) -> tuple[Float[Tensor, "B 1 rows cols"], Float[Tensor, "B C rows cols"]]:
        """Expected height of the ground [m] and features of the wide region's cells."""
        scores, features = self.columns(decoded).split([1, self.columns.out_channels - 1], dim=1)
        share = scores.softmax(dim=-1)
        heights = self.grid.centers_m(decoded.device)[0, 0, :, 2]
        maps = torch.cat([share * heights, share * features], dim=1).sum(-1)  # (B, 1 + C, X, Y)
        centers = self.wide.centers_m(decoded.device)
        where = self.grid.sampling_from_meters(nn.functional.pad(centers, (0, 1)))[..., 1:]
        where = where.expand(len(maps), -1, -1, -1)
        sampled = grid_sample(maps, where, padding_mode="border", align_corners=False)
        return sampled[:, :1], sampled[:, 1:]


@torch.no_grad()
def surfaces_through(
    points: Sequence[Float[Tensor, "_ F"]], grid: ElevationGrid
) -> tuple[list[Float[Tensor, "B 1 rows cols"]], list[Float[Tensor, "B 1 rows cols"]]]:
    """The surfaces of ``STRETCHES`` through the points, and maps that describe the points.

    Args:
        points: x, y, z [m] and more, frame by frame.
        grid: The cells, in multiples of 16.

    Returns:
        Heights [m], and maps to judge them by: the number of points in each cell, how well they fit
        those around them, and their distance from the first surface; 0 where there is none.
    """
    height, count = mean_heights(points, grid)
    weight = {True: credible(height, count > 0), False: (count > 0).to(height.dtype)}
    laid = [lay_surface(height, weight[odd], stretch=stretch) for odd, stretch in STRETCHES]
    off = ((height - laid[0]) / UNIT_M).clamp(-5, 5) * weight[False]
    return laid, [count.log1p(), weight[True], off]


class MapUNet(nn.Module):
    """Convolutions over a map at several resolutions, with outputs that start at 0.

    Group normalization: the same in training and inference, however few frames a batch has.

    Args:
        in_channels: Channels of the map.
        channels: Channels at each resolution, finest first.
        out_channels: Channels of the result.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], out_channels: int) -> None:
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
        self.out = nn.Conv2d(channels[0], out_channels, 1)
        self.out.weight = nn.Parameter(torch.zeros_like(self.out.weight))
        self.out.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, values: Float[Tensor, "B in_channels H W"]
    ) -> Float[Tensor, "B out_channels H W"]:
        """The channels of each cell."""
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
    """Two normalized 3×3 convolutions; the first may halve the resolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(gcd(8, channels), channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(gcd(8, channels), channels),
        nn.ReLU(inplace=True),
    )


def _looks_of(surfaces: Sequence[Float[Tensor, "B 1 H W"]]) -> list[Float[Tensor, "B 1 H W"]]:
    """The first surface's shape and detail, and the differences of the others from it."""
    first = surfaces[0]
    around = avg_pool2d(
        first, DETAIL_CELLS, stride=1, padding=DETAIL_CELLS // 2, count_include_pad=False
    )
    differences = [first - around, *(other - first for other in surfaces[1:])]
    level = first.mean((-2, -1), keepdim=True)
    return [first - level, *((values / UNIT_M).clamp(-5, 5) for values in differences)]


def _check_inside(cells: ElevationGrid, grid: VoxelGrid) -> None:
    """Reject cells outside the decoded volume."""
    for axis, ends in enumerate(zip(cells.near_right_m, cells.far_left_m, strict=True)):
        low, high = grid.origin_m[axis], grid.end_m[axis]
        if ends[0] < low or ends[1] > high:
            raise ValueError(
                f"the elevation cells' {'xy'[axis]} {ends} m leaves the grid, which goes from "
                f"{low:g} to {high:g} m"
            )
