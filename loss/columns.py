"""Losses of columns of voxels, in which matched pixels vote for where the surface is.

A single match is often off by a voxel. Votes of many pixels of several images, compared within a
column, are not. Where no pixel matches, surfaces continue.

Conventions: a column is all voxels with the same x and y; its profile says for each voxel whether a
surface is there, 0 to 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate, max_pool2d, pad

MOST_PASSES = 4
"""A voxel that so many times as many rays pass as end in it is free."""


def surface_profiles(
    votes: Float[Tensor, "B X Y Z"], passes: Float[Tensor, "B X Y Z"], *, fewest: int
) -> tuple[Float[Tensor, "B X Y Z"], Float[Tensor, "B X Y"]]:
    """Profiles of the columns, from the votes of their pixels and those of the eight beside them.

    Args:
        votes: Number of pixels whose surface is in each voxel.
        passes: Number of pixels that see through it.
        fewest: Voxels with fewer votes get none: a wrong match is rarely confirmed.

    Returns:
        Votes as shares of those of the leading voxel of the column, and 1 for columns with votes,
        else 0.
    """
    around, through = (
        9 * avg_pool3d(count[:, None], (3, 3, 1), stride=1, padding=(1, 1, 0))[:, 0]
        for count in (votes, passes)
    )
    is_surface = (around > fewest - 0.5) & (through <= MOST_PASSES * around)
    around = torch.where(is_surface, around, 0.0)
    most = around.amax(-1)
    return around / most.clamp(min=1)[..., None], (most > 0).to(votes)


def continued(
    profiles: Float[Tensor, "B X Y Z"], weight: Float[Tensor, "B X Y"], *, reach: int
) -> Float[Tensor, "B X Y Z"]:
    """Continue profiles where their weight is 0, smoothly: surfaces do not end where matches do.

    Args:
        profiles: Profiles of the columns.
        weight: 0 to 1; what a profile lacks to 1 comes from columns nearby.
        reach: Columns up to which profiles are continued; those beyond are empty.

    Source: the push-pull interpolation of Gortler et al., "The Lumigraph", SIGGRAPH 1996.
    """
    filled = _push_pull(profiles.permute(0, 3, 1, 2), weight[:, None])
    is_near = max_pool2d((weight[:, None] > 0).float(), 2 * reach + 1, stride=1, padding=reach)
    return (filled * is_near).permute(0, 2, 3, 1)


def _push_pull(
    values: Float[Tensor, "B C X Y"], weight: Float[Tensor, "B 1 X Y"]
) -> Float[Tensor, "B C X Y"]:
    """Fill values from averages of 2×2 blocks, which are filled likewise."""
    rows, columns = values.shape[-2:]
    if rows == columns == 1:
        return values
    even = (0, columns % 2, 0, rows % 2)
    total = 4 * avg_pool2d(pad(weight, even), 2)
    means = 4 * avg_pool2d(pad(values * weight, even), 2) / total.clamp(min=1e-6)
    coarse = _push_pull(means, total.clamp(max=1))
    finer = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return weight * values + (1 - weight) * finer[..., :rows, :columns]


def column_cross_entropy(
    log_free: Float[Tensor, "B X Y Z"],
    log_occupied: Float[Tensor, "B X Y Z"],
    profiles: Float[Tensor, "B X Y Z"],
    weight: Float[Tensor, "B X Y"],
    *,
    surface_weight: float,
) -> Float[Tensor, ""]:
    """Cross entropy of the occupancy with profiles.

    Args:
        log_free: Log probability that each voxel is free.
        log_occupied: Log probability that it is not.
        profiles: Profiles of the columns.
        weight: How much a column counts.
        surface_weight: How much a surface counts, against 1 of free space. Few voxels hold one, so
            that 1 would leave out each one that is not certain.

    Returns:
        Mean over the columns and their voxels by weight; a differentiable 0 where none counts.
    """
    surface = surface_weight * profiles * log_occupied
    nll = -(surface + (1 - profiles) * log_free).mean(-1)
    return (weight * nll).sum() / weight.sum().clamp(min=1e-6)
