"""Losses of renderings: depth, semantics, color, and the alignment of two volumes.

Conventions: R rays or pixels a frame; a label of 255 and a depth of 0 mean that there is none.
Where nothing counts, the loss is a differentiable 0. Depth and opacity come from the renderers.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from loss.depth import masked_depth_l1
from loss.label_counts import LabelCounts
from loss.occupancy import cross_entropy, lovasz_softmax
from utils.labels import FREE, IGNORE

_SMALLEST = 1e-5
"""Smaller probabilities are clamped to this."""


def class_log_probability(
    probability: Float[Tensor, "B R C"], opacity: Float[Tensor, "B R"]
) -> Float[Tensor, "B classes R"]:
    """Log probability of the class in which a ray ends, free (it passes through) first.

    Args:
        probability: Of each class but free, times the probability that the ray ends; they sum to
            the opacity.
        opacity: Probability that the ray ends at all.
    """
    every = torch.cat([1 - opacity[..., None], probability], dim=-1)
    return every.float().clamp(min=_SMALLEST).log().mT


def rendered_semantics(
    probability: Float[Tensor, "B R C"],
    opacity: Float[Tensor, "B R"],
    labels: UInt8[Tensor, "B R"],
    class_weight: Float[Tensor, "classes"] | None = None,
    counts: LabelCounts | None = None,
) -> Float[Tensor, ""]:
    """Weighted cross entropy of rendered classes.

    Args:
        probability: As in ``class_log_probability``.
        opacity: As in ``class_log_probability``.
        labels: Class of the first voxel along each ray; 255 is ignored.
        class_weight: Weight of each class, free first.
        counts: Those of the labels; None: they are counted and checked here.
    """
    return cross_entropy(class_log_probability(probability, opacity), labels, class_weight, counts)


def rendered_lovasz(
    probability: Float[Tensor, "B R C"],
    opacity: Float[Tensor, "B R"],
    labels: UInt8[Tensor, "B R"],
    counts: LabelCounts | None = None,
) -> Float[Tensor, ""]:
    """Lovász-softmax of rendered classes; the arguments are those of ``rendered_semantics``."""
    return lovasz_softmax(class_log_probability(probability, opacity), labels, counts)


def rendered_classes(
    log_shares: Float[Tensor, "B R C"],
    opacity: Float[Tensor, "B R"],
    labels: UInt8[Tensor, "B R"],
) -> Float[Tensor, ""]:
    """Negative log-likelihood of the classes of pixels, given where their rays end.

    Args:
        log_shares: Expected log probability of each class but free, of what is occupied, times the
            opacity.
        opacity: Probability that the ray ends at all. The others do not count.
        labels: Label of each pixel; free and ignored ones do not count.
    """
    counts = (labels > FREE) & (labels <= log_shares.shape[-1])
    chosen = torch.where(counts, labels.long() - 1, 0)[..., None]
    nll = -log_shares.gather(-1, chosen)[..., 0]
    total = torch.where(counts, opacity, 0.0).sum().clamp(min=_SMALLEST)
    return torch.where(counts, nll, 0.0).sum() / total


def rendered_depth(
    depth_m: Float[Tensor, "B R"], target_m: Float[Tensor, "B R"], *, max_depth_m: float
) -> Float[Tensor, ""]:
    """Mean absolute error of rendered depth, as a share of the range that counts.

    Args:
        depth_m: Rendered camera depth [m].
        target_m: Labels [m]; 0 where there is none.
        max_depth_m: Labels beyond this do not count.

    Returns:
        0 to about 1. In meters, the errors of far pixels would outweigh every other term.
    """
    error_m = masked_depth_l1(depth_m, target_m, target_m > 0, max_depth_m=max_depth_m)
    return error_m / max_depth_m


def rendered_color(
    colors: Float[Tensor, "B R 3"],
    opacity: Float[Tensor, "B R"],
    target: Float[Tensor, "B R 3"],
    labels: UInt8[Tensor, "B R"],
) -> Float[Tensor, ""]:
    """Mean squared error of rendered colors where the rays hit a labeled surface.

    Args:
        colors: Rendered colors, 0–1, times the opacity: black where a ray passes through.
        opacity: Probability that the ray ends.
        target: The image there, 0–1.
        labels: Class of the first voxel along each ray; 255 is ignored.
    """
    counts = labels != IGNORE
    error = (colors - opacity[..., None] * target).square().mean(-1)
    return torch.where(counts, error, 0.0).sum() / counts.sum().clamp(min=1)


def termination_alignment(
    first: Float[Tensor, "B R S"], second: Float[Tensor, "B R S"]
) -> Float[Tensor, ""]:
    """How far two volumes are from ending the same rays at the same depths.

    The Kullback–Leibler divergence in both directions, with the teacher's distribution detached.
    A ray is weighted by the teacher's opacity: a volume that lets it pass may just not have seen
    anything.

    Args:
        first: Probability that a ray ends in each of its segments, by one volume.
        second: The same by the other volume.
    """
    return _divergence(first.detach(), second) + _divergence(second.detach(), first)


def _divergence(
    teacher: Float[Tensor, "B R S"], student: Float[Tensor, "B R S"]
) -> Float[Tensor, ""]:
    opacity = teacher.sum(-1)
    teacher, student = (_with_passing(weights) for weights in (teacher, student))
    divergence = (teacher * (teacher.log() - student.log())).sum(-1)
    return (opacity * divergence).sum() / opacity.sum().clamp(min=_SMALLEST)


def _with_passing(weights: Float[Tensor, "B R S"]) -> Float[Tensor, "B R ends"]:
    """The whole distribution: where the ray ends, and that it passes through."""
    every = torch.cat([weights, 1 - weights.sum(-1, keepdim=True)], dim=-1)
    return every.clamp(min=_SMALLEST)
