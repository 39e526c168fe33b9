"""Losses of rays whose ends are known, as those of LiDAR points are, without any label.

Conventions: a ray is cut into S segments; ``absorbed`` is density times length of each, so that
exp(−sum) is the probability of passing them. Where nothing counts, a loss is a differentiable 0.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def termination_nll(
    absorbed: Float[Tensor, "B R S"],
    is_free: Bool[Tensor, "B R S"],
    log_ending: Float[Tensor, "B R"],
    has_end: Bool[Tensor, "B R"],
) -> Float[Tensor, ""]:
    """Negative log-likelihood of measured ends under the termination distribution of rays.

    The likelihood of a ray is Π exp(−absorbed) · exp(log_ending): it passes all segments before its
    end, and ends in the voxel there.

    Args:
        absorbed: Absorption in each segment before the end, >= 0.
        is_free: Whether a segment counts. Those in voxels that hold a point of any ray must not: a
            ray that grazes the ground passes many voxels that the ground is in.
        log_ending: Log probability of ending in the voxel of the end.
        has_end: Whether the end counts; of rays that leave the grid, only free segments do.

    Returns:
        Mean over the rays that have a free segment or an end.
    """
    passing = torch.where(is_free, absorbed, 0.0).sum(-1)
    ending = torch.where(has_end, -log_ending, 0.0)
    counts = (has_end | is_free.any(-1)).sum()
    return (passing + ending).sum() / counts.clamp(min=1)


def unexplained_occupancy(
    log_free: Float[Tensor, "B X Y Z"], is_unexplained: Bool[Tensor, "B X Y Z"]
) -> Float[Tensor, ""]:
    """Mean probability of being occupied, over the voxels without a point.

    No ray says what is behind a surface. Without this term, the network could fill it.

    Args:
        log_free: Log probability that each voxel is free.
        is_unexplained: Whether a voxel holds no point although a sensor could have one there.
    """
    occupied = torch.where(is_unexplained, -torch.expm1(log_free), 0.0)
    return occupied.sum() / is_unexplained.sum().clamp(min=1)
