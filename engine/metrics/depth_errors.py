"""Depth errors of one image.

Source: the errors of Eigen et al. (2014) as SelfOcc and monodepth2 compute them;
docs/conventions.md has the rules.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SCALINGS = ("none", "numpy", "torch")
"""Median scaling: none, by the median of numpy, or by that of torch."""
_RATIO = 1.25


class DepthErrors(NamedTuple):
    """Errors of an image, or means of them.

    Attributes:
        abs_rel: Mean of abs(gt - p) / gt.
        sq_rel: Mean of (gt - p)² / gt [m].
        rmse: Root of the mean of (gt - p)² [m].
        rmse_log: Root of the mean of (ln gt - ln p)².
        a1: Share of pixels with max(gt / p, p / gt) < 1.25.
        a2: The same, < 1.25².
        a3: The same, < 1.25³.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float


UNDEFINED = DepthErrors(*[math.nan] * 7)


@dataclass(frozen=True)
class DepthRule:
    """Which pixels count, and what is done to a prediction first.

    Attributes:
        min_depth_m: Labels count beyond this depth; predictions are clamped to it.
        max_depth_m: Labels count below this depth; predictions are clamped to it.
        median_scaling: "none"; "numpy" or "torch" scales each image's prediction, before it is
            clamped, by the ratio of the medians of label and prediction over the image's pixels
            that count. Of an even number of pixels numpy's median is the mean of the middle two
            (as in monodepth2), torch's the lower of them (as in SelfOcc).

    Raises:
        ValueError: If the range is empty or the scaling unknown.
    """

    min_depth_m: float = 0.1
    max_depth_m: float = 80.0
    median_scaling: str = "none"

    def __post_init__(self) -> None:
        """Check the fields."""
        if not 0 < self.min_depth_m < self.max_depth_m:
            raise ValueError(
                "a depth range needs 0 < min < max, got "
                f"{self.min_depth_m:g}–{self.max_depth_m:g} m"
            )
        if self.median_scaling not in SCALINGS:
            raise ValueError(
                f"unknown median scaling '{self.median_scaling}'; known: {list(SCALINGS)}"
            )

    @property
    def summary(self) -> str:
        """The rule in words, for captions."""
        scaling = {
            "none": "no median scaling",
            "numpy": "median scaling of each image (mean of the middle two values)",
            "torch": "median scaling of each image (lower of the middle two values)",
        }[self.median_scaling]
        return (
            f"labels between {self.min_depth_m:g} and {self.max_depth_m:g} m, predictions clamped "
            f"to that; {scaling}"
        )


def depth_errors(
    pred: Float[Tensor, "..."], target: Float[Tensor, "..."], rule: DepthRule
) -> DepthErrors | None:
    """Errors of one image.

    Single pixels are computed in the precision of the inputs, as peers do, and averaged in double.

    Args:
        pred: Predicted depth of each pixel [m].
        target: Label of each pixel [m], on any device; out of the range, such as 0, or NaN where
            there is none.
        rule: Which pixels count.

    Returns:
        The errors, or None where no pixel counts.

    Raises:
        ValueError: If the shapes differ, a prediction that counts is NaN, or the median of those
            predictions is not positive and finite, so that nothing can be scaled by it.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"prediction and label differ in shape: {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    target = target.to(pred.device)
    counts = (target > rule.min_depth_m) & (target < rule.max_depth_m)
    pred, target = pred[counts], target[counts]
    if not len(target):
        return None
    if pred.isnan().any():
        raise ValueError(f"the prediction is NaN at {int(pred.isnan().sum())} pixels with a label")
    if rule.median_scaling != "none":
        pred = pred * _median_ratio(pred, target, rule.median_scaling)
    pred = pred.clamp(rule.min_depth_m, rule.max_depth_m)
    difference = target - pred
    log_difference = target.log() - pred.log()
    ratio = torch.maximum(target / pred, pred / target)
    means = [
        (difference.abs() / target).double().mean(),
        (difference.square() / target).double().mean(),
        difference.square().double().mean().sqrt(),
        log_difference.square().double().mean().sqrt(),
        *((ratio < _RATIO**power).double().mean() for power in (1, 2, 3)),
    ]
    return DepthErrors(*torch.stack(means).tolist())


def _median_ratio(
    pred: Float[Tensor, " P"], target: Float[Tensor, " P"], scaling: str
) -> Float[Tensor, ""]:
    """What a prediction is multiplied with, so that its median becomes that of the label."""
    of_pred, of_target = (_median(values, scaling) for values in (pred, target))
    if not (of_pred > 0 and of_pred.isfinite()):
        raise ValueError(
            f"the median prediction is {float(of_pred):g} m, by which no image can be scaled; "
            "predictions must be depths in metres"
        )
    return of_target / of_pred


def _median(values: Float[Tensor, " P"], scaling: str) -> Float[Tensor, ""]:
    """The median; between two middle values their mean (numpy) or the lower one (torch)."""
    if scaling == "torch":
        return values.median()
    ordered, middle = values.sort().values, len(values) // 2
    return ordered[middle] if len(values) % 2 else ordered[middle - 1 : middle + 1].mean()
