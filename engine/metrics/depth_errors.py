"""Depth errors of one image.

Source: Eigen et al. (2014), computed as in SelfOcc and monodepth2; see docs/conventions.md.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SCALINGS = ("none", "numpy", "torch")
"""Median scaling: none, with numpy's median, or with torch's."""
_RATIO = 1.25


class DepthErrors(NamedTuple):
    """Errors of an image, or their means over images.

    Attributes:
        abs_rel: Mean of abs(gt - p) / gt.
        sq_rel: Mean of (gt - p)² / gt [m].
        rmse: Root of the mean of (gt - p)² [m].
        rmse_log: Root of the mean of (ln gt - ln p)².
        a1: Share of pixels with max(gt / p, p / gt) < 1.25.
        a2: The same for 1.25².
        a3: The same for 1.25³.
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
    """Which pixels are valid, and how predictions are scaled.

    Attributes:
        min_depth_m: Labels must be above this depth; predictions are clamped to it.
        max_depth_m: Labels must be below this depth; predictions are clamped to it.
        median_scaling: "none"; "numpy" or "torch" multiply each image's prediction by
            median(label) / median(prediction) over its valid pixels, before clamping. For an even
            number of pixels, numpy's median is the mean of the middle two (as in monodepth2),
            torch's is the lower one (as in SelfOcc).

    Raises:
        ValueError: If the range is empty or the scaling is unknown.
    """

    min_depth_m: float = 0.1
    max_depth_m: float = 80.0
    median_scaling: str = "none"

    def __post_init__(self) -> None:
        """Check the fields."""
        if not 0 < self.min_depth_m < self.max_depth_m:
            raise ValueError(
                "the depth range must satisfy 0 < min < max, got "
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
            "numpy": "median scaling per image (mean of the middle two values)",
            "torch": "median scaling per image (lower of the middle two values)",
        }[self.median_scaling]
        return (
            f"labels between {self.min_depth_m:g} and {self.max_depth_m:g} m, predictions clamped "
            f"to that range; {scaling}"
        )


def depth_errors(
    pred: Float[Tensor, "..."], target: Float[Tensor, "..."], rule: DepthRule
) -> DepthErrors | None:
    """Compute the errors of one image.

    Errors of pixels have the precision of the inputs, as in other codebases; means are in double.

    Args:
        pred: Predicted depth of each pixel [m].
        target: Label of each pixel [m], on any device; out of range (such as 0) or NaN where
            unlabeled.
        rule: Which pixels are valid.

    Returns:
        The errors, or None without valid pixels.

    Raises:
        ValueError: If the shapes differ, a prediction at a valid pixel is NaN, or median scaling
            finds a median prediction that is not positive and finite.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"prediction and label differ in shape: {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    target = target.to(pred.device)
    is_valid = (target > rule.min_depth_m) & (target < rule.max_depth_m)
    pred, target = pred[is_valid], target[is_valid]
    if not len(target):
        return None
    if pred.isnan().any():
        raise ValueError(f"the prediction is NaN at {int(pred.isnan().sum())} labeled pixels")
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
    """Return the factor that brings the median of a prediction to that of the label."""
    pred_median, target_median = (_median(values, scaling) for values in (pred, target))
    if not (pred_median > 0 and pred_median.isfinite()):
        raise ValueError(
            f"the median prediction is {float(pred_median):g} m; median scaling needs a positive, "
            "finite median of depths in meters"
        )
    return target_median / pred_median


def _median(values: Float[Tensor, " P"], scaling: str) -> Float[Tensor, ""]:
    """Return the median; of two middle values, their mean (numpy) or the lower one (torch)."""
    if scaling == "torch":
        return values.median()
    ordered, middle = values.sort().values, len(values) // 2
    return ordered[middle] if len(values) % 2 else ordered[middle - 1 : middle + 1].mean()
