"""Copies on the host have the values of a tensor, and no gradient."""

import pytest
import torch

from utils.host_copy import HostCopy


def test_the_values_without_their_gradient():
    values = torch.arange(3.0, requires_grad=True)
    copy = HostCopy(2 * values)
    assert copy.read().tolist() == [0, 2, 4]
    assert not copy.read().requires_grad


@pytest.mark.gpu
def test_a_gpu_copies_what_is_queued():
    values = torch.zeros(1000, device="cuda")
    copies = [HostCopy(values.add_(1)) for _ in range(10)]
    assert [copy.read().unique().tolist() for copy in copies] == [[n + 1] for n in range(10)]
    assert copies[0].read().device.type == "cpu"
