"""Crop and resize recorded images in PyTorch as OpenCV does: on a GPU or in an exported network.

Each pixel of the result is a weighted sum of a few rows, then of a few columns. The rows, columns
and weights depend on the sizes only, so they are constants.
"""

import math

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from dataset.transforms import ImageTransform


class Resample(nn.Module):
    """Crops and resizes images of one size: averages areas to shrink, interpolates to enlarge.

    Args:
        transform: The crop, which lies inside the image, and the size of the result; without flip.
    """

    rows: Int64[Tensor, "H taps"]
    row_weights: Float[Tensor, "H taps"]
    columns: Int64[Tensor, "W taps"]
    column_weights: Float[Tensor, "W taps"]

    def __init__(self, transform: ImageTransform) -> None:
        super().__init__()
        assert not transform.flip, "predictions are from images as they are"
        top, left, bottom, right = transform.window
        (height, width), (rows, columns) = (bottom - top, right - left), transform.size
        shrinks = rows <= height and columns <= width
        axes = (("row", top, height, rows), ("column", left, width, columns))
        for name, first, source, target in axes:
            index, weight = (area_taps if shrinks else linear_taps)(source, target)
            self.register_buffer(f"{name}s", first + index, persistent=False)
            self.register_buffer(f"{name}_weights", weight, persistent=False)

    def forward(self, images: UInt8[Tensor, "N h w 3"]) -> UInt8[Tensor, "N 3 H W"]:
        """Resample images.

        Args:
            images: RGB as recorded.
        """
        values = images.permute(0, 3, 1, 2).float()
        values = weighted_sum(values, self.rows, self.row_weights[:, None], dim=2)
        values = weighted_sum(values, self.columns, self.column_weights, dim=3)
        return values.round().clamp(0, 255).to(torch.uint8)


def weighted_sum(
    values: Float[Tensor, "N C _ _"],
    index: Int64[Tensor, "target taps"],
    weight: Float[Tensor, "target *one taps"],
    *,
    dim: int,
) -> Float[Tensor, "N C _ _"]:
    """Sum weighted rows or columns.

    Args:
        values: Images.
        index: Rows or columns for each row or column of the result.
        weight: Their weights, in a shape that broadcasts against the result.
        dim: 2 for rows, 3 for columns.
    """
    parts = [
        values.index_select(dim, taken) * share
        for taken, share in zip(index.unbind(-1), weight.unbind(-1), strict=True)
    ]
    return torch.stack(parts).sum(0)


def area_taps(
    source: int, target: int
) -> tuple[Int64[Tensor, "target taps"], Float[Tensor, "target taps"]]:
    """Return which cells an axis of ``target`` cells averages, and their shares of the area.

    Args:
        source: Number of cells before.
        target: Number of cells after, at most as many.
    """
    scale = source / target
    start = torch.arange(target, dtype=torch.float64)[:, None] * scale
    taps = max(math.ceil((i + 1) * scale - 1e-9) - math.floor(i * scale) for i in range(target))
    cell = start.floor() + torch.arange(taps, dtype=torch.float64)
    share = (torch.minimum(cell + 1, start + scale) - torch.maximum(cell, start)).clamp(min=0)
    return cell.long().clamp(max=source - 1), (share / scale).float()


def linear_taps(
    source: int, target: int
) -> tuple[Int64[Tensor, "target 2"], Float[Tensor, "target 2"]]:
    """Return between which cells an axis of ``target`` cells interpolates, and their weights.

    Args:
        source: Number of cells before.
        target: Number of cells after.
    """
    center = (torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5
    center = center.clamp(0, source - 1)
    first = center.floor()
    second = (center - first)[:, None]
    index = torch.stack([first, (first + 1).clamp(max=source - 1)], dim=1).long()
    return index, torch.cat([1 - second, second], dim=1).float()
