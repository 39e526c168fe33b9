"""The balance of losses: weights of classes, and the one weighted sum of named terms."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def effective_number_weights(counts: Sequence[int | float], beta: float) -> Float[Tensor, "C"]:
    """Weights of classes by their effective number of samples: (1 − β) / (1 − β^count).

    Args:
        counts: Labeled voxels (or pixels) of each class.
        beta: 0 weights all classes alike; towards 1 the weights approach 1 / count.

    Returns:
        Weights with a mean of 1 over the classes that have samples; 0 for the others.

    Raises:
        ValueError: If a count is negative or β is not in [0, 1).

    Source: Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.
    """
    number = torch.tensor(list(counts), dtype=torch.float64)
    if not (number >= 0).all() or not number.isfinite().all():
        raise ValueError(f"counts of classes must be finite and not negative, got {list(counts)}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta}")
    is_present = number > 0
    # β^n = exp(n·log β); expm1 keeps 1 − β^n accurate for β near 1.
    log_beta = math.log(beta) if beta > 0 else -math.inf
    effective = -torch.expm1(torch.where(is_present, number, 1.0) * log_beta) / (1 - beta)
    weights = torch.where(is_present, 1 / effective, 0.0)
    return (weights / weights.sum().clamp(min=1e-300) * is_present.sum()).float()


def log_share_weights(shares: Sequence[int | float], offset: float = 1.02) -> Float[Tensor, "C"]:
    """Weights of classes by their share of the labels: 1 / log(offset + share).

    Args:
        shares: Share of the labels that each class has, 0–1.
        offset: Limits the weight of the rarest class to 1 / log(offset); must be > 1.

    Returns:
        Weights; with the default offset, about 50 for a share of 0 and 1.4 for a share of 1.

    Raises:
        ValueError: If a share is not in 0–1, they sum to more than 1, or the offset is not above 1.

    Source: Paszke et al., "ENet", 2016.
    """
    share = torch.tensor(list(shares), dtype=torch.float64)
    if not ((share >= 0) & (share <= 1)).all() or share.sum() > 1 + 1e-6:
        raise ValueError(
            f"shares must be in 0 to 1 and sum to 1 at most, got {list(shares)}; are these counts?"
        )
    if not offset > 1:
        raise ValueError(f"offset must be above 1, got {offset}")
    return (1 / torch.log(offset + share)).float()


def weighted_terms(
    terms: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, int | float]
) -> dict[str, Float[Tensor, ""]]:
    """Each term times its fixed weight, under the name that the training loop sums and logs.

    Args:
        terms: Unweighted losses by name.
        weights: Weight of each of them, not negative.

    Returns:
        ``loss_<name>`` of every term, in the terms' order.

    Raises:
        ValueError: If a term has no weight, a weight has no term, or a weight is negative or not
            finite.
    """
    without_weight, without_term = sorted(terms.keys() - weights), sorted(weights.keys() - terms)
    if without_weight or without_term:
        raise ValueError(
            f"each loss needs one weight: losses without a weight {without_weight}, weights "
            f"without a loss {without_term}; set the weights in the model's config"
        )
    wrong = {name: weight for name, weight in weights.items() if not 0 <= weight < math.inf}
    if wrong:
        raise ValueError(f"weights of losses must be finite and not negative, got {wrong}")
    return {f"loss_{name}": term * weights[name] for name, term in terms.items()}
