"""Elevation maps: where their cells lie, heights of points in them, and maps without gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, grid_sample, interpolate

from utils.geometry import Points, as_array

COARSEST_CELLS = 16
"""Cells along an edge of the blocks of a surface's coarsest scale."""
_SIGMA_CELLS = 1.5
"""Of the Gaussian across the direction of stretch, in blocks of the scale."""
_EASE = 0.05
"""Weight of what the coarser scales say, of a known cell right here."""
_ALONG = 3.0
"""Roads, ruts and walls run along x, the way that the vehicle drives."""
_ODD_M = 0.1
"""A cell that is this much off the others' surface counts by half."""
_DOUBTS = 2
"""Times that the weights follow the surface, and it them."""


@dataclass(frozen=True)
class ElevationGrid:
    """A rectangle of the ground in square cells, which are counted from its near right corner on.

    Maps of it have the far end in row 0 and the left in column 0, as one sees them from above.

    Attributes:
        near_right_m: The corner (x, y) [m] from which the cells are counted.
        cell_m: Edge of a cell [m].
        shape: Number of rows (along x) and of columns (along y).

    Raises:
        ValueError: If it has no cells.
    """

    near_right_m: tuple[float, float]
    cell_m: float
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.cell_m <= 0 or min(self.shape) < 1:
            raise ValueError(
                "an elevation grid needs cell_m > 0 and a positive shape=(rows, columns), got "
                f"{self}"
            )

    @classmethod
    def from_config(cls, grid: "ElevationGrid | Mapping[str, Any]") -> "ElevationGrid":
        """The grid itself, or that of a config's ``dict(near_right_m, cell_m, shape)``.

        Raises:
            ValueError: If the keys or the values are not those of a grid.
        """
        if isinstance(grid, ElevationGrid):
            return grid
        if set(grid) != {"near_right_m", "cell_m", "shape"}:
            raise ValueError(
                f"an elevation grid has the keys near_right_m, cell_m and shape, got {sorted(grid)}"
            )
        (x, y), (rows, columns) = grid["near_right_m"], grid["shape"]
        return cls((float(x), float(y)), float(grid["cell_m"]), (rows, columns))

    @property
    def far_left_m(self) -> tuple[float, float]:
        """The corner (x, y) [m] at which the first row and column of a map begin."""
        (near, right), (rows, columns) = self.near_right_m, self.shape
        return near + rows * self.cell_m, right + columns * self.cell_m

    def cells_of(self, points_m: Points) -> Points:
        """Row and column (..., 2) of the cells that points (x, y, …) [m] lie in.

        They are whole numbers in the points' own type; where ``holds`` does not, they are those
        that the cells would have if they went on. A cell has its near and right edges.
        """
        array = torch if isinstance(points_m, Tensor) else np
        corner, shape = (as_array(values, points_m) for values in (self.near_right_m, self.shape))
        return shape - 1 - array.floor((points_m[..., :2] - corner) / self.cell_m)

    def holds(self, cells: Points) -> Any:
        """Which cells (row, column) of (..., 2) are cells of the grid: bool (...)."""
        return ((cells >= 0) & (cells < as_array(self.shape, cells))).all(-1)

    def centers_m(self, device: torch.device | str = "cpu") -> Float[Tensor, "rows cols 2"]:
        """Middles (x, y) of the cells [m]."""
        axes = [
            end - (torch.arange(number, dtype=torch.float32, device=device) + 0.5) * self.cell_m
            for end, number in zip(self.far_left_m, self.shape, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def widen(self, least: int, multiple: int) -> tuple["ElevationGrid", tuple[int, int]]:
        """The grid with more cells all around.

        Args:
            least: At least so many cells on each side.
            multiple: What rows and columns shall be multiples of.

        Returns:
            The wide grid, and the row and column in it of this one's first cell.
        """
        (rows, columns), (near, right) = self.shape, self.near_right_m
        wide = [ceil((number + 2 * least) / multiple) * multiple for number in self.shape]
        row, column = (wide[0] - rows) // 2, (wide[1] - columns) // 2
        corner = (
            near - (wide[0] - rows - row) * self.cell_m,
            right - (wide[1] - columns - column) * self.cell_m,
        )
        return ElevationGrid(corner, self.cell_m, (wide[0], wide[1])), (row, column)


def mean_heights(
    points: Sequence[Float[Tensor, "_ F"]], grid: ElevationGrid
) -> tuple[Float[Tensor, "B 1 rows cols"], Float[Tensor, "B 1 rows cols"]]:
    """Mean height of the points in each cell, and how many there are.

    Args:
        points: x, y, z [m] and more, frame by frame; those outside the grid do not matter.
        grid: The cells.

    Returns:
        Heights [m], 0 where no point is, and counts.
    """
    rows, columns = grid.shape
    height, count = [], []
    for frame in points:
        cells = grid.cells_of(frame.float())
        inside = grid.holds(cells)
        index = (cells[inside] @ cells.new_tensor([columns, 1])).long()
        flat = cells.new_zeros(rows * columns)
        number = flat.index_add(0, index, torch.ones_like(index, dtype=flat.dtype))
        total = flat.index_add(0, index, frame[inside, 2].float())
        height.append((total / number.clamp(min=1)).view(1, rows, columns))
        count.append(number.view(1, rows, columns))
    return torch.stack(height), torch.stack(count)


def lay_surface(
    height_m: Float[Tensor, "B 1 rows cols"],
    weight: Float[Tensor, "B 1 rows cols"],
    *,
    stretch: float,
    finest: int = 1,
    passes: int = 2,
) -> Float[Tensor, "B 1 rows cols"]:
    """A map without gaps through cells of known height.

    From coarse to fine, each scale adds what the surface so far lacks at the known cells near by,
    their mean under a Gaussian. So a slope is followed into the gaps, and noise is averaged where
    cells are dense.

    Args:
        height_m: Heights [m]; anything finite where the weight is 0.
        weight: How much each cell is known: 0 not at all, 1 for sure.
        stretch: How much further along the rows' axis x a cell's height carries than across it.
        finest: Cells along an edge of the blocks of the finest scale: a power of two up to 16.
        passes: Times that each scale is gone over; the second mends what the first has smoothed.

    Returns:
        Heights [m]; 0 in a frame where no cell is known.

    Raises:
        ValueError: If rows or columns are no multiple of 16.
    """
    if any(number % COARSEST_CELLS for number in height_m.shape[-2:]):
        raise ValueError(
            f"a surface needs rows and columns in multiples of {COARSEST_CELLS}, got "
            f"{tuple(height_m.shape[-2:])}"
        )
    weights = weight.sum((-2, -1), keepdim=True).clamp(min=_EASE)
    surface = ((height_m * weight).sum((-2, -1), keepdim=True) / weights).expand_as(height_m)
    block = COARSEST_CELLS
    while block >= finest:
        for _ in range(passes):
            lacking = torch.cat([(height_m - surface) * weight, weight], dim=1)
            near = _blur(avg_pool2d(lacking, block) * block**2, stretch)
            near = interpolate(near, size=surface.shape[-2:], mode="bilinear", align_corners=False)
            surface = surface + near[:, :1] / (near[:, 1:] + _EASE)
        block //= 2
    return surface


def credible(
    height_m: Float[Tensor, "B 1 rows cols"], is_known: Bool[Tensor, "B 1 rows cols"]
) -> Float[Tensor, "B 1 rows cols"]:
    """How far known cells fit to those around: 1 for those that do, near 0 for dust in the air.

    Args:
        height_m: Heights [m]; anything finite where unknown.
        is_known: Where they are known.

    Returns:
        A weight for ``lay_surface``: 1 / (1 + (error / 10 cm)²) of the surface that all lay
        together, each by its weight; 0 where unknown.
    """
    known = is_known.to(height_m.dtype)
    weight = known
    for _ in range(_DOUBTS):
        surface = lay_surface(height_m, weight, stretch=_ALONG, finest=2, passes=1)
        weight = known / (1 + ((height_m - surface) / _ODD_M) ** 2)
    return weight


def resample_map(
    elevation_m: Float[Tensor, "B rows cols"], source: ElevationGrid, target: ElevationGrid
) -> Float[Tensor, "B rows2 cols2"]:
    """A map at the cells of another grid, by bilinear interpolation; itself where they are its own.

    Beyond the middles of the outermost cells of ``source`` these hold.
    """
    if source == target:
        return elevation_m
    # (row, column) of the targets' middles in cells of the source, middles at integer + 0.5.
    corner = elevation_m.new_tensor(source.far_left_m)
    cells = (corner - target.centers_m(elevation_m.device)) / source.cell_m
    where = 2 * cells / cells.new_tensor(source.shape) - 1
    return grid_sample(
        elevation_m[:, None],
        where.flip(-1).to(elevation_m.dtype).expand(len(elevation_m), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )[:, 0]


def _blur(values: Float[Tensor, "B C rows cols"], stretch: float) -> Float[Tensor, "B C rows cols"]:
    """Sum of the cells around each, under a Gaussian that is 1 in the middle."""
    channels = values.shape[1]
    for sigma, shape in ((stretch * _SIGMA_CELLS, (1, 1, -1, 1)), (_SIGMA_CELLS, (1, 1, 1, -1))):
        reach = ceil(2.5 * sigma)
        away = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
        kernel = torch.exp(-0.5 * (away / sigma) ** 2).view(shape)
        padding = (reach, 0) if shape[2] == -1 else (0, reach)
        values = conv2d(
            values,
            kernel.expand(channels, 1, *kernel.shape[2:]),
            padding=padding,
            groups=channels,
        )
    return values
