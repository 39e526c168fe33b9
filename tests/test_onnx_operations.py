"""Operations in terms of others that ONNX has."""

import pytest
import torch

from engine.export.onnx_operations import index_copy, searchsorted


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 100])
def test_searchsorted_equals_that_of_torch(length):
    generator = torch.Generator().manual_seed(length)
    ordered = torch.randint(50, (length,), generator=generator).sort().values
    values = torch.arange(-2, 54).view(2, -1)
    assert torch.equal(searchsorted(ordered, values), torch.searchsorted(ordered, values))


def test_index_copy_equals_that_of_torch():
    values, source = torch.zeros(5, 2), torch.ones(2, 2)
    index = torch.tensor([3, 1])
    assert torch.equal(index_copy(values, 0, index, source), values.index_copy(0, index, source))
