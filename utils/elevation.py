"""Elevation maps: where their cells lie, heights of points in them, and maps without gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

_SMOOTHINGS = 8
"""Passes over the gaps at each resolution; more change less than a millimetre."""


@dataclass(frozen=True)
class ElevationRegion:
    """A rectangle of the ground in cells: row 0 is the far end, column 0 the left.

    Attributes:
        x_m: Near and far end, forward [m].
        y_m: Right and left end [m].
        shape: Number of rows and of columns.

    Raises:
        ValueError: If the rectangle is empty.
    """

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the fields."""
        if not (self.x_m[0] < self.x_m[1] and self.y_m[0] < self.y_m[1]) or min(self.shape) < 1:
            raise ValueError(
                "an elevation region needs x_m=(near, far), y_m=(right, left) and a positive "
                f"shape=(rows, columns), got {self}"
            )

    @property
    def cell_m(self) -> tuple[float, float]:
        """Edges of a cell along x and y [m]."""
        (near, far), (right, left) = self.x_m, self.y_m
        return (far - near) / self.shape[0], (left - right) / self.shape[1]

    def cells_from_metres(self, points_m: Float[Tensor, "*any F"]) -> Float[Tensor, "*any 2"]:
        """Continuous (row, column) of points (x, y, …) [m]; ``floor`` gives the cell."""
        ends = points_m.new_tensor([self.x_m[1], self.y_m[1]])
        return (ends - points_m[..., :2]) / points_m.new_tensor(self.cell_m)

    def centers_m(self, device: torch.device | str = "cpu") -> Float[Tensor, "rows cols 2"]:
        """Middles (x, y) of the cells [m]."""
        axes = [
            end - (torch.arange(number, dtype=torch.float32, device=device) + 0.5) * size
            for end, number, size in zip(
                (self.x_m[1], self.y_m[1]), self.shape, self.cell_m, strict=True
            )
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def widen(self, least: int, multiple: int) -> tuple["ElevationRegion", tuple[int, int]]:
        """The region with more cells all around.

        Args:
            least: At least so many cells on each side.
            multiple: What rows and columns shall be multiples of.

        Returns:
            The wide region, and the row and column in it of this one's first cell.
        """
        shape = [ceil((number + 2 * least) / multiple) * multiple for number in self.shape]
        first = [(wide - number) // 2 for wide, number in zip(shape, self.shape, strict=True)]
        (dx, dy), far, left = self.cell_m, self.x_m[1], self.y_m[1]
        far, left = far + first[0] * dx, left + first[1] * dy
        region = ElevationRegion(
            (far - shape[0] * dx, far), (left - shape[1] * dy, left), (shape[0], shape[1])
        )
        return region, (first[0], first[1])


def mean_heights(
    points: Sequence[Float[Tensor, "_ F"]], region: ElevationRegion
) -> tuple[Float[Tensor, "B 1 rows cols"], Float[Tensor, "B 1 rows cols"]]:
    """Mean height of the points in each cell, and how many there are.

    Args:
        points: x, y, z [m] and more, frame by frame; those outside the region do not matter.
        region: The cells.

    Returns:
        Heights [m], 0 where no point is, and counts.
    """
    rows, columns = region.shape
    height, count = [], []
    for frame in points:
        cells = torch.floor(region.cells_from_metres(frame.float()))
        inside = ((cells >= 0) & (cells < cells.new_tensor(region.shape))).all(-1)
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


def resize_map(
    elevation_m: Float[Tensor, "B rows cols"], shape: tuple[int, int]
) -> Float[Tensor, "B rows2 cols2"]:
    """The same region's map in other cells; itself where it has them already."""
    if tuple(elevation_m.shape[-2:]) == tuple(shape):
        return elevation_m
    return interpolate(elevation_m[:, None], size=shape, mode="bilinear", align_corners=False)[:, 0]


def _mean_of_neighbours(values: Float[Tensor, "B 1 rows cols"]) -> Float[Tensor, "B 1 rows cols"]:
    """Mean of the eight cells around each, those at the corners by half."""
    kernel = values.new_tensor([[0.5, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.5]]) / 6
    return conv2d(pad(values, (1, 1, 1, 1), mode="replicate"), kernel[None, None])
