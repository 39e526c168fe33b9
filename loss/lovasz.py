"""The Lovász-softmax: a convex surrogate of 1 − IoU, by sorting the errors of each class.

Source: Berman et al., "The Lovász-Softmax loss", CVPR 2018.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from loss.label_counts import LabelCounts

AT_ONCE = {"cpu": 2**17, "cuda": 2**23}
"""Up to this many errors, all classes are sorted in one call, by device. With more, those that have
voxels are sorted one by one, which takes less memory; a CPU has a faster sort for them."""


@torch.compiler.disable  # The classes that are present differ between steps.
def mean_jaccard_loss(
    probability: Float[Tensor, "B C V"], labels: Int64[Tensor, "B V"], counts: LabelCounts
) -> Float[Tensor, ""]:
    """Lovász-softmax, averaged over the classes that have voxels.

    Args:
        probability: Probabilities of the classes; 0 where a voxel is ignored.
        labels: Labels; 255 is ignored.
        counts: Their counts.
    """
    losses = [
        (error * _jaccard_steps(error.detach(), is_class)).sum(-1).flatten()
        for error, is_class in _errors(probability, labels, counts)
    ]
    if not losses:
        return probability.sum() * 0
    # Classes without voxels have a loss of 0.
    return torch.cat(losses).sum() / (counts.of_classes > 0).sum().clamp(min=1)


def _errors(
    probability: Float[Tensor, "B C V"], labels: Int64[Tensor, "B V"], counts: LabelCounts
) -> Iterator[tuple[Float[Tensor, "*K BV"], Bool[Tensor, "*K BV"]]]:
    """Yield errors, and which voxels are of the class: for all classes at once, or one by one."""
    if probability.numel() <= AT_ONCE[probability.device.type]:
        label = torch.arange(probability.shape[1], device=labels.device)[:, None, None]
        is_class = labels == label  # (C, B, V)
        by_class = probability.transpose(0, 1)
        error = torch.where(is_class, 1 - by_class, by_class)
        yield error.flatten(1), is_class.flatten(1)
        return
    classes = probability.unbind(1)
    for present in counts.present():
        is_class = labels == present
        error = torch.where(is_class, 1 - classes[present], classes[present])
        yield error.flatten(), is_class.flatten()


def _jaccard_steps(
    error: Float[Tensor, "*K V"], is_class: Bool[Tensor, "*K V"]
) -> Float[Tensor, "*K V"]:
    """Increase of the Jaccard loss at each voxel as voxels turn wrong, largest error first.

    Of G voxels of the class, F come before a voxel, and so do B others. A voxel of the class adds
    1 / (G + B), any other (G − F) / ((G + B)(G + B + 1)). These closed forms keep the digits that
    subtracting two Jaccard losses near 1 would lose. Ignored voxels have error 0: they come last,
    after the whole class or where they have no weight.
    """
    # Floats >= 0 sort like their bits, and integers sort several times faster on a CPU.
    bits = error.view(torch.int64 if error.dtype == torch.float64 else torch.int32)
    order = bits.sort().indices  # Smallest error first, so "before" is what follows.
    in_order = is_class.gather(-1, order)
    # A GPU sums one long row faster than a few.
    class_left = in_order.flatten().cumsum(0, dtype=torch.int32).view_as(in_order)  # G − F
    if in_order.ndim > 1:
        of_class = in_order.sum(-1, keepdim=True, dtype=torch.int32)
        class_left = class_left - (of_class.cumsum(0, dtype=torch.int32) - of_class)
    voxels = error.shape[-1]
    before = torch.arange(voxels - 1, -1, -1, dtype=torch.int32, device=error.device)  # F + B
    # G + B is at least 1, except for a class without voxels, whose steps are 0.
    union = (before + class_left).clamp(min=1).to(error.dtype)
    step = torch.where(in_order, 1 / union, class_left / (union * (union + 1)))
    return torch.empty_like(error).scatter_(-1, order, step)
