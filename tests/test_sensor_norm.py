"""Batch normalization by sensors."""

import pytest
import torch
from torch import nn

from model.decoder import ResidualBlock
from model.sensor_norm import SensorNorm3d, sensors_are, set_sensors, split_norms


def volume(seed=0, *, mean=0.0):
    return mean + torch.randn(2, 3, 4, 4, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("training", [True, False])
def test_is_a_batch_norm_for_each_set_of_sensors(training):
    norm, twin = SensorNorm3d(3), nn.BatchNorm3d(3)
    for seed in range(3):
        torch.testing.assert_close(norm(volume(seed)), twin(volume(seed)))
    norm.train(training), twin.train(training)
    torch.testing.assert_close(norm(volume(5)), twin(volume(5)))
    torch.testing.assert_close(norm.running_var[0], twin.running_var)


def test_sets_of_sensors_share_no_statistics():
    norm = SensorNorm3d(3)
    norm(volume())
    before = norm.running_mean.clone()
    with sensors_are(norm, "lidar"):
        norm(volume(1, mean=9.0))
    assert torch.equal(norm.running_mean[:2], before[:2])
    assert (norm.running_mean[2] > 0.5).all()
    assert norm.sensors == "both"


def test_every_weight_gets_a_gradient_whatever_the_sensors():
    """Several processes wait for each other's gradients; one of each weight must come."""
    norm = SensorNorm3d(3)
    set_sensors(norm, "camera")
    norm(volume()).square().sum().backward()
    assert norm.weight.grad.view(3, 3)[1].abs().min() > 0
    assert norm.weight.grad.view(3, 3)[[0, 2]].abs().max() == 0


def test_an_error_leaves_the_sensors_as_they_were():
    norm = SensorNorm3d(3)
    with pytest.raises(RuntimeError), sensors_are(norm, "camera"):
        norm(torch.zeros(1, 2, 4, 4, 2))
    assert norm.sensors == "both"


def test_all_norms_of_a_part_are_split():
    block = ResidualBlock(3, 4, stride=2)
    block.first_norm.eps = 0.5
    split_norms(block)
    kinds = [type(layer) for layer in block.modules()]
    assert kinds.count(SensorNorm3d) == 3
    assert nn.BatchNorm3d not in kinds
    assert block.first_norm.eps == 0.5
    assert block(volume()).shape == (2, 4, 2, 2, 1)
