"""Losses between predicted depth, as a distribution or as meters, and depth labels.

Conventions: a label of 0 means that there is none; where nothing counts, the loss is a
differentiable 0 with zero gradient. A NaN in a prediction that counts makes the loss NaN.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def downsample_depth(
    depth_m: Float[Tensor, "*batch H W"], stride: int
) -> Float[Tensor, "*batch h w"]:
    """The nearest label in each cell of a feature map.

    Args:
        depth_m: Depth labels [m]; 0 where there is none.
        stride: Pixels along each edge of a cell; must divide H and W.

    Returns:
        Smallest label in each cell [m]; 0 where the cell has none.

    Raises:
        ValueError: If the stride does not divide the map.
    """
    height, width = depth_m.shape[-2:]
    if stride < 1 or height % stride or width % stride:
        raise ValueError(f"a stride of {stride} does not divide a depth map of {height}×{width}")
    distant = torch.where(depth_m <= 0, torch.inf, depth_m)
    cells = distant.unflatten(-1, (-1, stride)).unflatten(-3, (-1, stride))  # (…, h, s, w, s)
    nearest = cells.amin((-3, -1))  # (…, h, w)
    return torch.where(nearest == torch.inf, 0.0, nearest)


def depth_bin_cross_entropy(
    depth_logits: Float[Tensor, "B N D h w"],
    depth_m: Float[Tensor, "B N h w"],
    bin_edges_m: Float[Tensor, "edges"],
    valid: Bool[Tensor, "B N h w"] | None = None,
) -> Float[Tensor, ""]:
    """Cross entropy of a depth distribution against the bin that holds the label.

    Args:
        depth_logits: Scores of the D bins at each cell of the feature map.
        depth_m: Depth labels of the cells [m]; 0 where there is none.
        bin_edges_m: The D + 1 edges of the bins, increasing [m]. A bin includes its lower edge.
            Labels outside the bins do not count.
        valid: Cells that count; all when None.

    Returns:
        Mean over the cells that count, in float32 even under autocast.

    Raises:
        ValueError: If there are not D + 1 edges.
    """
    num_bins = depth_logits.shape[2]
    if len(bin_edges_m) != num_bins + 1:
        raise ValueError(f"{num_bins} depth bins have {num_bins + 1} edges, got {len(bin_edges_m)}")
    bins = torch.bucketize(depth_m.contiguous(), bin_edges_m.to(depth_m), right=True) - 1
    is_off = (depth_m <= 0) | (bins < 0) | (bins >= num_bins)
    if valid is not None:
        is_off = is_off | ~valid
    scores = depth_logits if depth_logits.dtype == torch.float64 else depth_logits.float()
    summed = functional.cross_entropy(
        scores.flatten(0, 1),
        bins.masked_fill(is_off, -1).flatten(0, 1),
        ignore_index=-1,
        reduction="sum",
    )
    return summed / (~is_off).sum().clamp(min=1)


def masked_depth_l1(
    pred: Float[Tensor, "*batch H W"],
    target: Float[Tensor, "*batch H W"],
    valid: Bool[Tensor, "*batch H W"],
    *,
    max_depth_m: float,
) -> Float[Tensor, ""]:
    """Mean absolute depth error over the valid pixels.

    Args:
        pred: Rendered depth [m].
        target: Depth label [m]; 0 where there is none.
        valid: Pixels that count.
        max_depth_m: Labels beyond this depth do not count; must be > 0.

    Returns:
        Scalar [m]; a differentiable 0 when no pixel counts.

    Raises:
        ValueError: If ``max_depth_m`` is not positive.
    """
    if max_depth_m <= 0:
        raise ValueError(f"max_depth_m must be > 0, got {max_depth_m}")
    counts = valid & (target > 0) & (target <= max_depth_m)
    error = torch.where(counts, _precise(pred) - target, 0.0).abs()
    return error.sum() / counts.sum().clamp(min=1)


def _precise(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least float32."""
    return values if values.dtype == torch.float64 else values.float()
