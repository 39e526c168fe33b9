"""Voxels of each class, and the classes that are present."""

import pytest
import torch

from loss.label_counts import LabelCounts


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_counts_equal_a_loop(dtype):
    labels = torch.tensor([[[0, 2, 255], [2, 2, 0]], [[4, 0, 255], [2, 255, 4]]], dtype=dtype)
    counts = LabelCounts(labels, 5)
    expected = [sum(x == label for x in labels.flatten().tolist()) for label in range(5)]
    assert counts.of_classes.tolist() == expected == [3, 0, 4, 0, 2]
    assert counts.present() == [0, 2, 4]


def test_counts_may_be_read_early_or_late():
    early, late = (LabelCounts(torch.tensor([[1, 1, 255]]), 3) for _ in range(2))
    early.start_copy()
    assert early.present() == late.present() == early.present() == [1]


def test_a_label_that_is_no_class():
    counts = LabelCounts(torch.tensor([[0, 7, 255, 3]], dtype=torch.uint8), 3)
    assert counts.of_classes.tolist() == [1, 0, 0]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"labels are 0 to 2, or 255 .* got \[3, 7\]"):
            counts.present()


def test_a_selection_may_have_the_classes_of_the_whole():
    whole = LabelCounts(torch.tensor([[0, 1, 3]]), 4)
    part = LabelCounts(torch.tensor([[3]]), 4, among=whole)
    assert part.of_classes.tolist() == [0, 0, 0, 1]
    assert part.present() == [0, 1, 3]


def test_no_voxels():
    counts = LabelCounts(torch.zeros(2, 0, dtype=torch.uint8), 3)
    assert counts.of_classes.tolist() == [0, 0, 0]
    assert counts.present() == []
