"""Losses between class logits and labels of voxels, or of pixels: any spatial shape.

Conventions: label 255 is ignored, the batch is pooled, the arithmetic is float32 (or the logits'
float64) even under autocast. Where nothing is labeled, the loss is a differentiable 0 with zero
gradient. A NaN in the logits makes the loss NaN. Labels whose counts are given are not checked:
``LabelCounts.present`` does that.
"""

import torch
from jaxtyping import Float, Float64, Int64, Integer
from torch import Tensor

from loss.label_counts import LabelCounts
from loss.lovasz import mean_jaccard_loss
from utils.labels import FREE, IGNORE

MAX_NEGATIVE_LOG = 100.0
"""−log(0) is clamped to this, as in ``torch.nn.functional.binary_cross_entropy``."""
_SMALLEST = torch.finfo(torch.float32).tiny


def cross_entropy(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    class_weight: Float[Tensor, "C"] | None = None,
    counts: LabelCounts | None = None,
) -> Float[Tensor, ""]:
    """Cross entropy, weighted by class: sum(w · nll) / sum(w) over the labeled voxels.

    Args:
        logits: Class scores.
        target: Labels; 255 is ignored.
        class_weight: Weight of each class, not negative; 1 when None.
        counts: Those of the labels; None: they are counted and checked here.

    Returns:
        Scalar; a differentiable 0 when no voxel has a weight.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.
    """
    log_probability, labels, counts = _flatten(logits, target, counts)
    return _cross_entropy(log_probability, labels, counts.of_classes, class_weight)


def occupied_cross_entropy(
    logits: Float[Tensor, "B C *spatial"], target: Integer[Tensor, "B *spatial"]
) -> Float[Tensor, ""]:
    """Cross entropy of the class of what is occupied, whatever the probability that it is.

    Args:
        logits: Class scores, free first; the softmax is taken over the others.
        target: Labels; free says nothing, and 255 is ignored. They are not checked here.

    Returns:
        Scalar; a differentiable 0 when no voxel has a class.
    """
    given = target.long()
    classes = torch.where((given == FREE) | (given == IGNORE), IGNORE, given - 1)
    others = logits[:, FREE + 1 :]
    return cross_entropy(others, classes, counts=LabelCounts(classes, others.shape[1]))


def lovasz_softmax(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    counts: LabelCounts | None = None,
) -> Float[Tensor, ""]:
    """Lovász-softmax: a convex surrogate of 1 − IoU, averaged over the present classes.

    Args:
        logits: Class scores; the softmax is taken here.
        target: Labels; 255 is ignored.
        counts: Those of the labels; None: they are counted and checked here.

    Returns:
        Scalar in 0–1; a differentiable 0 when nothing is labeled.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.

    Source: Berman et al., "The Lovász-Softmax loss", CVPR 2018.
    """
    log_probability, labels, counts = _flatten(logits, target, counts)
    return mean_jaccard_loss(_probability(log_probability, labels), labels, counts)


def sem_scal(
    logits: Float[Tensor, "B C *spatial"], target: Integer[Tensor, "B *spatial"]
) -> Float[Tensor, ""]:
    """Semantic scene-class affinity: −log of soft precision, recall and specificity by class.

    The three are summed for each class that has labels, free included, and averaged over these
    classes. Ratios with a denominator of 0 are left out: the specificity of a class that fills the
    scene, the precision of a class with no probability anywhere.

    Args:
        logits: Class scores; the softmax is taken here.
        target: Labels; 255 is ignored.

    Returns:
        Scalar; a differentiable 0 when nothing is labeled.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.

    Source: Cao and de Charette, "MonoScene", CVPR 2022.
    """
    log_probability, labels, counts = _flatten(logits, target)
    hits, predicted = _soft_counts(_probability(log_probability, labels), labels)
    return _sem_scal(hits, predicted, counts.of_classes).to(log_probability)


def geo_scal(
    logits: Float[Tensor, "B C *spatial"], target: Integer[Tensor, "B *spatial"]
) -> Float[Tensor, ""]:
    """Geometric scene-class affinity: the same for occupied (any class but free) against free.

    With nothing occupied, precision and recall are undefined and only the specificity counts; with
    nothing free, the specificity is left out.

    Args:
        logits: Class scores, free first; the softmax is taken here.
        target: Labels; 0 is free, 255 is ignored.

    Returns:
        Scalar; a differentiable 0 when nothing is labeled.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.

    Source: Cao and de Charette, "MonoScene", CVPR 2022.
    """
    log_probability, labels, counts = _flatten(logits, target)
    free = _probability(log_probability[:, FREE : FREE + 1], labels)
    hits, predicted = _soft_counts(free, labels)
    return _geo_scal(hits, predicted, counts.of_classes).to(log_probability)


def occupancy_terms(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    class_weight: Float[Tensor, "C"] | None = None,
    counts: LabelCounts | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """All four losses of this module by name, at little more than the cost of the most expensive.

    Args:
        logits: Class scores, free first.
        target: Labels; 0 is free, 255 is ignored.
        class_weight: Weight of each class in the cross entropy.
        counts: Those of the labels; None: they are counted and checked here.

    Returns:
        ``cross_entropy``, ``lovasz_softmax``, ``sem_scal`` and ``geo_scal``.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.
    """
    log_probability, labels, counts = _flatten(logits, target, counts)
    of_classes = counts.of_classes
    probability = _probability(log_probability, labels)
    hits, predicted = _soft_counts(probability, labels)
    terms = {
        "cross_entropy": _cross_entropy(log_probability, labels, of_classes, class_weight),
        "sem_scal": _sem_scal(hits, predicted, of_classes).to(log_probability),
        "geo_scal": _geo_scal(hits, predicted, of_classes).to(log_probability),
    }
    return terms | {"lovasz_softmax": mean_jaccard_loss(probability, labels, counts)}


def _flatten(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    counts: LabelCounts | None = None,
) -> tuple[Float[Tensor, "B C V"], Int64[Tensor, "B V"], LabelCounts]:
    """Check the input; log probabilities, labels, and their counts, which are read if new."""
    batch, num_classes = logits.shape[:2]
    if target.shape != (batch, *logits.shape[2:]):
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need labels of shape "
            f"{(batch, *logits.shape[2:])}, got {tuple(target.shape)}"
        )
    if counts is None:
        counts = LabelCounts(target, num_classes)
        counts.present()
    scores = logits.reshape(batch, num_classes, -1)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return scores.log_softmax(1), target.reshape(batch, -1).long(), counts


def _probability(
    log_probability: Float[Tensor, "B K V"], labels: Int64[Tensor, "B V"]
) -> Float[Tensor, "B K V"]:
    """Probabilities, zero at ignored voxels."""
    return log_probability.exp() * (labels != IGNORE)[:, None]


def _cross_entropy(
    log_probability: Float[Tensor, "B C V"],
    labels: Int64[Tensor, "B V"],
    counts: Int64[Tensor, "C"],
    class_weight: Float[Tensor, "C"] | None,
) -> Float[Tensor, ""]:
    if class_weight is not None and class_weight.shape != counts.shape:
        raise ValueError(
            f"class_weight needs one value for each of {len(counts)} classes, "
            f"got shape {tuple(class_weight.shape)}"
        )
    weight = log_probability.new_ones(len(counts)) if class_weight is None else class_weight
    weight = weight.to(log_probability)
    is_labeled = labels != IGNORE
    label = labels.masked_fill(~is_labeled, FREE)
    # Not nll_loss: on a GPU its order of summation, and so its last digits, vary between calls.
    nll = -log_probability.gather(1, label[:, None])[:, 0]
    total = (counts * weight.double()).sum()
    return (nll * weight[label] * is_labeled).sum() / torch.where(total == 0, 1.0, total).to(nll)


def _soft_counts(
    probability: Float[Tensor, "B K V"], labels: Int64[Tensor, "B V"]
) -> tuple[Float64[Tensor, "K"], Float64[Tensor, "K"]]:
    """Summed probability of the first K classes, on their own voxels and on all labeled voxels."""
    label = torch.arange(probability.shape[1], device=labels.device)
    on_class = torch.where(labels[:, None] == label[:, None], probability, 0.0)
    # Millions of probabilities: in float32 the differences of these sums would be noise.
    return on_class.sum((0, 2), dtype=torch.float64), probability.sum((0, 2), dtype=torch.float64)


def _sem_scal(
    hits: Float64[Tensor, "C"], predicted: Float64[Tensor, "C"], counts: Int64[Tensor, "C"]
) -> Float64[Tensor, ""]:
    labeled = counts.double()
    terms = _affinity(hits, predicted, labeled, labeled.sum())
    is_present = counts > 0
    return torch.where(is_present, terms, 0.0).sum() / is_present.sum().clamp(min=1)


def _geo_scal(
    hits: Float64[Tensor, "K"], predicted: Float64[Tensor, "K"], counts: Int64[Tensor, "C"]
) -> Float64[Tensor, ""]:
    total = counts.sum().double()
    occupied = total - counts[FREE]
    occupied_as_free = predicted[FREE] - hits[FREE]
    return _affinity(occupied - occupied_as_free, total - predicted[FREE], occupied, total)


def _affinity(
    hits: Float64[Tensor, "*K"],
    predicted: Float64[Tensor, "*K"],
    labeled: Float64[Tensor, "*K"],
    total: Float64[Tensor, ""],
) -> Float64[Tensor, "*K"]:
    """−log precision − log recall − log specificity, without undefined ones.

    Args:
        hits: Summed probability on the voxels of the class.
        predicted: Summed probability on all labeled voxels.
        labeled: Voxels of the class.
        total: Labeled voxels.
    """
    others = total - labeled
    correctly_other = others - (predicted - hits)
    # Without a voxel of the class, its precision is 0 whatever the prediction: leave it out.
    precision = _negative_log(hits, torch.where(labeled > 0, predicted, 0.0))
    return precision + _negative_log(hits, labeled) + _negative_log(correctly_other, others)


def _negative_log(
    part: Float64[Tensor, "*K"], whole: Float64[Tensor, "*K"]
) -> Float64[Tensor, "*K"]:
    """−log(part / whole), at most 100; 0 where the whole is 0. NaN stays NaN."""
    is_defined = ~(whole <= _SMALLEST)  # Not ">": NaN must pass.
    is_safe = is_defined & ~(part <= _SMALLEST)
    log_part = torch.where(is_safe, part, 1.0).log()
    log_whole = torch.where(is_safe, whole, 1.0).log()
    value = torch.where(is_safe, log_whole - log_part, MAX_NEGATIVE_LOG)
    return torch.where(is_defined, value.clamp(max=MAX_NEGATIVE_LOG), 0.0)
