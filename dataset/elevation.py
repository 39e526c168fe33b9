"""Elevation maps: their grid, heights of points per cell, and gap filling."""

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
"""Cells per edge of a block at the coarsest scale of a surface."""
_SIGMA_CELLS = 1.5
"""Standard deviation of the Gaussian across the direction of stretch, in blocks."""
_EASE = 0.05
"""Weight of the coarser scales, relative to a known cell right here."""
_ALONG = 3.0
"""Stretch along x: roads, ruts and walls run in the driving direction."""
_ODD_M = 0.1
"""A cell that deviates this much from the surface of the others counts half."""
_DOUBTS = 2
"""Iterations of reweighting."""


@dataclass(frozen=True)
class ElevationGrid:
    """A rectangle of ground in square cells, counted from its near right corner.

    Maps have the far end in row 0 and the left in column 0, like a view from above.

    Attributes:
        near_right_m: The corner (x, y) [m] from which the cells are counted.
        cell_m: Size of a cell [m].
        shape: Number of rows (along x) and columns (along y).

    Raises:
        ValueError: If there are no cells.
    """

    near_right_m: tuple[float, float]
    cell_m: float
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        """Validate the fields."""
        if self.cell_m <= 0 or min(self.shape) < 1:
            raise ValueError(
                "an elevation grid needs cell_m > 0 and a positive shape=(rows, columns), got "
                f"{self}"
            )

    @classmethod
    def from_config(cls, grid: "ElevationGrid | Mapping[str, Any]") -> "ElevationGrid":
        """Return a grid as it is, or build one from ``dict(near_right_m, cell_m, shape)``.

        Raises:
            ValueError: If keys or values are wrong.
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
        """Corner (x, y) [m] where the first row and column of a map begin."""
        (near, right), (rows, columns) = self.near_right_m, self.shape
        return near + rows * self.cell_m, right + columns * self.cell_m

    def cells_of(self, points_m: Points) -> Points:
        """Row and column (..., 2) of the cells that contain points (x, y, …) [m].

        They are integers in the dtype of the points, and continue outside the grid (see
        ``holds``). A cell includes its near and right edges.
        """
        array = torch if isinstance(points_m, Tensor) else np
        corner, shape = (as_array(values, points_m) for values in (self.near_right_m, self.shape))
        return shape - 1 - array.floor((points_m[..., :2] - corner) / self.cell_m)

    def holds(self, cells: Points) -> Any:
        """Whether cells (row, column), shape (..., 2), are in the grid: bool (...)."""
        return ((cells >= 0) & (cells < as_array(self.shape, cells))).all(-1)

    def centers_m(self, device: torch.device | str = "cpu") -> Float[Tensor, "rows cols 2"]:
        """Centers (x, y) of the cells [m]."""
        axes = [
            end - (torch.arange(number, dtype=torch.float32, device=device) + 0.5) * self.cell_m
            for end, number in zip(self.far_left_m, self.shape, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def widen(self, least: int, multiple: int) -> tuple["ElevationGrid", tuple[int, int]]:
        """Pad the grid with cells on all sides.

        Args:
            least: Minimum number of cells on each side.
            multiple: Rows and columns become multiples of this.

        Returns:
            The padded grid, and the row and column of this grid's first cell in it.
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
    """Mean height and number of the points in each cell.

    Args:
        points: x, y, z [m] and more, per frame; points outside the grid are ignored.
        grid: The cells.

    Returns:
        Heights [m], 0 in empty cells, and counts.
    """
    rows, columns = grid.shape
    height, count = [], []
    for frame in points:
        cells = grid.cells_of(frame.float())
        index = (cells[:, 0] * columns + cells[:, 1]).long()
        # Points outside the grid add to one more cell, which is cut off: nothing waits for a mask.
        index = index.masked_fill(~grid.holds(cells), rows * columns)
        flat = cells.new_zeros(rows * columns + 1)
        number = flat.index_add(0, index, torch.ones_like(index, dtype=flat.dtype))[:-1]
        total = flat.index_add(0, index, frame[:, 2].float())[:-1]
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
    """Fit a dense map to cells of known height.

    From coarse to fine, each scale adds the Gaussian-weighted mean of the residuals at nearby known
    cells. Slopes thus extend into gaps, and noise is averaged where cells are dense.

    Args:
        height_m: Heights [m]; anything finite where the weight is 0.
        weight: Confidence of each cell: 0 unknown, 1 certain.
        stretch: How much farther a height carries along x than across it.
        finest: Cells per edge of a block at the finest scale: a power of two up to 16.
        passes: Passes per scale; the second restores what the first has smoothed.

    Returns:
        Heights [m]; 0 in frames without known cells.

    Raises:
        ValueError: If rows or columns are not multiples of 16.
    """
    if any(number % COARSEST_CELLS for number in height_m.shape[-2:]):
        raise ValueError(
            f"rows and columns must be multiples of {COARSEST_CELLS}, got "
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
    """Weight known cells by how well they fit their surroundings: dust in the air gets about 0.

    Args:
        height_m: Heights [m]; anything finite where unknown.
        is_known: Mask of known heights.

    Returns:
        A weight for ``lay_surface``: 1 / (1 + (residual / 10 cm)²) against the weighted surface of
        all cells; 0 where unknown.
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
    """Resample a map to another grid by bilinear interpolation; the same grid is a no-op.

    Border values extend beyond the centers of the outermost cells of ``source``.
    """
    if source == target:
        return elevation_m
    # (row, column) of the target centers in cells of the source, centers at integer + 0.5.
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
    """Convolve with a Gaussian whose peak is 1."""
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
