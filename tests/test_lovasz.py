"""The Lovász-softmax sorts all classes at once or one by one, to the same result."""

import pytest
import torch
from torch import Tensor

from loss.label_counts import LabelCounts
from loss.lovasz import AT_ONCE, mean_jaccard_loss


def case() -> tuple[Tensor, Tensor]:
    """Probabilities of six classes, of which two have no voxels, and labels."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.tensor([0, 1, 3, 4])[torch.randint(0, 4, (2, 300), generator=generator)]
    is_ignored = torch.rand(labels.shape, generator=generator) < 0.2
    labels = labels.masked_fill(is_ignored, 255)
    logits = torch.randn(2, 6, 300, generator=generator, dtype=torch.float64)
    return logits.softmax(1) * ~is_ignored[:, None], labels


def by_differences(error: Tensor, is_class: Tensor) -> Tensor:
    """Loss of one class by its definition: the growth of 1 − intersection / union."""
    error, order = error.sort(descending=True)
    outside = (~is_class[order]).cumsum(0)
    left = is_class.sum() - is_class[order].cumsum(0)
    jaccard = 1 - left / (is_class.sum() + outside)
    return (error * jaccard.diff(prepend=jaccard.new_zeros(1))).sum()


@pytest.mark.parametrize("at_once", [0, 2**20])
def test_equals_the_definition_with_gradients(at_once, monkeypatch):
    monkeypatch.setitem(AT_ONCE, "cpu", at_once)
    probability, labels = case()
    probability.requires_grad_()
    loss = mean_jaccard_loss(probability, labels, LabelCounts(labels, 6))
    rows = probability.transpose(0, 1).flatten(1)
    is_class = [labels.flatten() == label for label in range(6)]
    errors = [torch.where(own, 1 - row, row) for row, own in zip(rows, is_class, strict=True)]
    expected = torch.stack([by_differences(errors[c], is_class[c]) for c in (0, 1, 3, 4)]).mean()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, probability)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, probability)[0])
    assert not gradient[:, (2, 5)].any()


@pytest.mark.parametrize("at_once", [0, 2**20])
def test_nothing_labeled_is_a_differentiable_zero(at_once, monkeypatch):
    monkeypatch.setitem(AT_ONCE, "cpu", at_once)
    probability = torch.zeros(1, 3, 5, requires_grad=True)
    labels = torch.full((1, 5), 255)
    loss = mean_jaccard_loss(probability, labels, LabelCounts(labels, 3))
    loss.backward()
    assert loss.item() == 0
    assert not probability.grad.any()
