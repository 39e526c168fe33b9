"""Operations that PyTorch's exporter cannot translate to ONNX, in terms of those that it can."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

aten = torch.ops.aten


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Replace such operations in a traced network."""
    table: dict[Any, Callable] = {
        aten.searchsorted.Tensor: searchsorted,
        aten.index_copy.default: index_copy,
    }
    return program.run_decompositions(table)


def searchsorted(ordered: Int64[Tensor, "M"], values: Int64[Tensor, "*any"]) -> Tensor:
    """Return how many numbers are smaller than each value: a binary search over all at once.

    Args:
        ordered: Numbers in ascending order.
        values: The values.
    """
    step = 1 << (len(ordered).bit_length() - 1)
    found = torch.zeros_like(values)
    while step:
        last = found + (step - 1)
        is_inside = last < len(ordered)
        is_smaller = ordered[last.clamp(max=len(ordered) - 1)] < values
        found = found + step * (is_inside & is_smaller).to(found.dtype)
        step //= 2
    return found


def index_copy(values: Tensor, dim: int, index: Int64[Tensor, "N"], source: Tensor) -> Tensor:
    """Return values of which some rows are replaced by those of ``source``."""
    assert dim == 0, "the LiDAR encoder copies rows"
    return torch.index_put(values, [index], source)


def translations() -> dict[Any, Callable]:
    """Return functions of onnxscript that translate operations, for ``torch.onnx.export``."""
    from onnxscript import opset20

    def grid_sampler_3d(
        values: Any, grid: Any, interpolation: int, padding: int, align_corners: bool
    ) -> Any:
        assert (interpolation, padding) == (0, 0), "the lift samples trilinearly, with zeros"
        return opset20.GridSample(
            values, grid, mode="linear", padding_mode="zeros", align_corners=int(align_corners)
        )

    return {aten.grid_sampler_3d.default: grid_sampler_3d}
