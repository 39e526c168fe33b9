"""Elevation maps: where their cells lie, heights of points in them, and maps without gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, grid_sample, interpolate, pad

from utils.geometry import Points, as_array

_SMOOTHINGS = 8
"""Passes over the gaps at each resolution; more change less than a millimetre."""


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


def fill_gaps(
    height: Float[Tensor, "B 1 rows cols"], is_known: Bool[Tensor, "B 1 rows cols"]
) -> Float[Tensor, "B 1 rows cols"]:
    """A map without gaps: as flat as it can be between its known cells.

    From coarse to fine, each resolution begins with the coarser one's map and draws unknown cells
    towards the mean of their neighbours.

    Args:
        height: Heights [m]; anything where unknown.
        is_known: Cells that stay as they are.

    Returns:
        Heights [m]; 0 in a frame where no cell is known.
    """
    levels = [(torch.where(is_known, height, 0.0), is_known.to(height.dtype))]
    while min(levels[-1][0].shape[-2:]) > 1:
        value, weight = levels[-1]
        total, number = (
            avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False)
            for part in (value * weight, weight)
        )
        levels.append((total / number.clamp(min=1e-12), number))
    value, weight = levels[-1]
    mean = (value * weight).sum((-2, -1), keepdim=True) / weight.sum((-2, -1), keepdim=True).clamp(
        min=1e-12
    )
    filled = mean.expand_as(value)
    for value, weight in reversed(levels):
        filled = interpolate(filled, size=value.shape[-2:], mode="bilinear", align_corners=False)
        for _ in range(_SMOOTHINGS):
            filled = _mean_of_neighbours(torch.where(weight > 0, value, filled))
        filled = torch.where(weight > 0, value, filled)
    return filled


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


def _mean_of_neighbours(values: Float[Tensor, "B 1 rows cols"]) -> Float[Tensor, "B 1 rows cols"]:
    """Mean of the eight cells around each, those at the corners by half."""
    kernel = values.new_tensor([[0.5, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.5]]) / 6
    return conv2d(pad(values, (1, 1, 1, 1), mode="replicate"), kernel[None, None])
