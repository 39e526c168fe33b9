"""What holds for every test."""

import torch


def test_each_test_starts_with_the_same_random_numbers():
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
