"""Losses between class logits and labels of voxels, or of pixels: any spatial shape.

Conventions: label 255 is ignored, the batch is pooled, the arithmetic is float32 (or the logits'
float64) even under autocast. Where nothing is labeled, the loss is a differentiable 0 with zero
gradient. A NaN in the logits makes the loss NaN.
"""

import torch
from jaxtyping import Bool, Float, Float64, Int64, Integer
from torch import Tensor

from utils.labels import FREE, IGNORE

MAX_NEGATIVE_LOG = 100.0
"""−log(0) is clamped to this, as in ``torch.nn.functional.binary_cross_entropy``."""
_SMALLEST = torch.finfo(torch.float32).tiny


def cross_entropy(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    class_weight: Float[Tensor, "C"] | None = None,
) -> Float[Tensor, ""]:
    """Cross entropy, weighted by class: sum(w · nll) / sum(w) over the labeled voxels.

    Args:
        logits: Class scores.
        target: Labels; 255 is ignored.
        class_weight: Weight of each class, not negative; 1 when None.

    Returns:
        Scalar; a differentiable 0 when no voxel has a weight.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.
    """
    log_probability, labels, counts = _flatten(logits, target)
    return _cross_entropy(log_probability, labels, counts, class_weight)


def lovasz_softmax(
    logits: Float[Tensor, "B C *spatial"], target: Integer[Tensor, "B *spatial"]
) -> Float[Tensor, ""]:
    """Lovász-softmax: a convex surrogate of 1 − IoU, averaged over the present classes.

    Args:
        logits: Class scores; the softmax is taken here.
        target: Labels; 255 is ignored.

    Returns:
        Scalar in 0–1; a differentiable 0 when nothing is labeled.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.

    Source: Berman et al., "The Lovász-Softmax loss", CVPR 2018.
    """
    log_probability, labels, counts = _flatten(logits, target)
    return _lovasz_softmax(_probability(log_probability, labels), labels, counts)


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
    return _sem_scal(hits, predicted, counts).to(log_probability)


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
    return _geo_scal(hits, predicted, counts).to(log_probability)


def occupancy_terms(
    logits: Float[Tensor, "B C *spatial"],
    target: Integer[Tensor, "B *spatial"],
    class_weight: Float[Tensor, "C"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """All four losses of this module by name, at little more than the cost of the most expensive.

    Args:
        logits: Class scores, free first.
        target: Labels; 0 is free, 255 is ignored.
        class_weight: Weight of each class in the cross entropy.

    Returns:
        ``cross_entropy``, ``lovasz_softmax``, ``sem_scal`` and ``geo_scal``.

    Raises:
        ValueError: If the shapes do not fit or a label is no class.
    """
    log_probability, labels, counts = _flatten(logits, target)
    probability = _probability(log_probability, labels)
    hits, predicted = _soft_counts(probability, labels)
    return {
        "cross_entropy": _cross_entropy(log_probability, labels, counts, class_weight),
        "lovasz_softmax": _lovasz_softmax(probability, labels, counts),
        "sem_scal": _sem_scal(hits, predicted, counts).to(log_probability),
        "geo_scal": _geo_scal(hits, predicted, counts).to(log_probability),
    }


def _flatten(
    logits: Float[Tensor, "B C *spatial"], target: Integer[Tensor, "B *spatial"]
) -> tuple[Float[Tensor, "B C V"], Int64[Tensor, "B V"], Int64[Tensor, "C"]]:
    """Check the input; log probabilities, labels, and the number of voxels of each class."""
    batch, num_classes = logits.shape[:2]
    if target.shape != (batch, *logits.shape[2:]):
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need labels of shape "
            f"{(batch, *logits.shape[2:])}, got {tuple(target.shape)}"
        )
    labels = target.reshape(batch, -1).long()
    counts = torch.bincount(labels.flatten(), minlength=IGNORE + 1)
    is_known = torch.arange(len(counts), device=counts.device) < num_classes
    is_known[IGNORE] = True
    unknown = torch.nonzero((counts > 0) & ~is_known).flatten().tolist()
    if unknown:
        raise ValueError(
            f"labels are 0 to {num_classes - 1}, or {IGNORE} for ignored, got {unknown}; "
            "does the model have the classes of the data set?"
        )
    scores = logits.reshape(batch, num_classes, -1)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return scores.log_softmax(1), labels, counts[:num_classes]


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


def _lovasz_softmax(
    probability: Float[Tensor, "B C V"], labels: Int64[Tensor, "B V"], counts: Int64[Tensor, "C"]
) -> Float[Tensor, ""]:
    by_class = probability.unbind(1)
    present = torch.nonzero(counts).flatten().tolist()
    if not present:
        return probability.sum() * 0
    losses = []
    for label in present:
        is_class = labels == label
        error = torch.where(is_class, 1 - by_class[label], by_class[label]).flatten()
        losses.append((error * _jaccard_steps(error.detach(), is_class.flatten())).sum())
    return torch.stack(losses).mean()


def _jaccard_steps(error: Float[Tensor, "V"], is_class: Bool[Tensor, "V"]) -> Float[Tensor, "V"]:
    """Increase of the Jaccard loss at each voxel as voxels turn wrong, largest error first.

    Of G voxels of the class, F come before a voxel, and so do B others. A voxel of the class adds
    1 / (G + B), any other (G − F) / ((G + B)(G + B + 1)). These closed forms keep the digits that
    subtracting two Jaccard losses near 1 would lose. Ignored voxels have error 0: they come last,
    after the whole class or where they have no weight.
    """
    # Floats >= 0 sort like their bits, and integers sort several times faster on a CPU.
    bits = error.view(torch.int64 if error.dtype == torch.float64 else torch.int32)
    order = bits.sort().indices  # Smallest error first, so "before" is what follows.
    in_order = is_class[order]
    class_left = in_order.cumsum(0, dtype=torch.int32)  # G − F
    before = torch.arange(len(error) - 1, -1, -1, dtype=torch.int32, device=error.device)  # F + B
    union = (before + class_left).to(error.dtype)  # G + B
    step = torch.where(in_order, 1 / union, class_left / (union * (union + 1)))
    return torch.empty_like(error).scatter_(0, order, step)


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
