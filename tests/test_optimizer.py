"""The norm of a gradient is logged one update late, and clipped at once."""

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from engine.build.optimizer import Updates


def test_norms_are_logged_at_the_next_update():
    hub = MessageHub.get_instance("norms_of_a_test")
    weights = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = Updates(torch.optim.SGD(weights[:1], lr=1.0), clip_grad={"max_norm": 1.0})
    optimizer.optimizer.add_param_group({"params": weights[1:]})
    for step, scale in enumerate((3.0, 0.3)):
        optimizer.update_params(scale * (weights[0][0] + weights[1].sum()) / 3**0.5)
        assert ("train/grad_norm" in hub.log_scalars) == (step > 0)
    assert hub.get_scalar("train/grad_norm").data[0] == pytest.approx([3.0])
    # Both groups together: 3 becomes 1, and 0.3 stays.
    assert weights[1].detach().tolist() == pytest.approx(2 * [-1.3 / 3**0.5], abs=1e-5)
