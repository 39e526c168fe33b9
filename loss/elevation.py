"""The loss between predicted and labeled elevation maps."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

BETA_M = 0.01
"""Smaller errors count quadratically: labels are exact to half a centimeter."""
NEAR_M = 0.02
"""Scale of the errors that the logarithm emphasizes."""
NEAR_WEIGHT = 0.05
"""Weight of the logarithm; at an error of 0 its slope is 2.5 times that of the absolute error."""


def elevation_loss(
    pred_m: Float[Tensor, "B rows cols"], target_m: Float[Tensor, "B rows2 cols2"]
) -> Float[Tensor, ""]:
    """Mean over the cells with a label of smooth |e| + 0.05 · log(1 + |e| / 2 cm).

    Walls and gaps, with errors of meters, dominate the absolute error. The logarithm makes
    centimeters count everywhere else.

    Args:
        pred_m: Predicted heights [m].
        target_m: Labels of the same cells [m]; NaN where unknown.

    Returns:
        Scalar [m]; a differentiable 0 where no cell counts.

    Raises:
        ValueError: If the labels have different cells.
    """
    if pred_m.shape != target_m.shape:
        raise ValueError(
            f"elevation labels have {tuple(target_m.shape[1:])} cells, the predicted map has "
            f"{tuple(pred_m.shape[1:])}: set cell_m and shape of model.parts.elevation.cells to "
            "those of the labels"
        )
    is_known = ~target_m.isnan()
    # Unknown labels are replaced before the difference: 0 · NaN would be NaN in the gradient.
    target_m = torch.where(is_known, target_m, 0.0)
    error = smooth_l1_loss(pred_m.float(), target_m, reduction="none", beta=BETA_M)
    error = error + NEAR_WEIGHT * torch.log1p((pred_m.float() - target_m).abs() / NEAR_M)
    return torch.where(is_known, error, 0.0).sum() / is_known.sum().clamp(min=1)
