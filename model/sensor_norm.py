"""Batch normalization with statistics of its own for each set of sensors.

A volume of one sensor has other statistics than a volume of both. A network that runs on either
needs the mean and variance of each case: a mixture of them fits none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from utils.config import MODALITIES


class SensorNorm3d(nn.Module):
    """Batch normalization of volumes: statistics, scale and shift for each of ``MODALITIES``.

    Several processes do not share the statistics of a batch: each draws its own frames to predict
    from one sensor, and a process without any would never join the others. Each has the voxels of
    whole volumes to average, also with one frame.

    Args:
        channels: Channels of the volumes.
        eps: Added to the variance.
        momentum: Share of a batch in the running statistics.

    Attributes:
        sensors: What the volumes come from, one of ``MODALITIES``; ``sensors_are`` sets it.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.sensors = "both"
        cases = len(MODALITIES)
        # One tensor for all cases, so that each step has a gradient for all of it.
        self.weight = nn.Parameter(torch.ones(cases * channels))
        self.bias = nn.Parameter(torch.zeros(cases * channels))
        self.register_buffer("running_mean", torch.zeros(cases, channels))
        self.register_buffer("running_var", torch.ones(cases, channels))

    def forward(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B C X Y Z"]:
        """Normalize, with the batch's statistics in training and the running ones otherwise."""
        case = MODALITIES.index(self.sensors)
        own = slice(case * self.channels, (case + 1) * self.channels)
        return batch_norm(
            volume,
            self.running_mean[case],
            self.running_var[case],
            self.weight[own],
            self.bias[own],
            self.training,
            self.momentum,
            self.eps,
        )


def split_norms(module: nn.Module) -> None:
    """Replace every ``BatchNorm3d`` inside a module by a ``SensorNorm3d``."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm3d):
            momentum = 0.1 if child.momentum is None else child.momentum
            setattr(module, name, SensorNorm3d(child.num_features, child.eps, momentum))
        else:
            split_norms(child)


def set_sensors(module: nn.Module, sensors: str) -> None:
    """Tell every ``SensorNorm3d`` inside a module which sensors its volumes come from."""
    for layer in module.modules():
        if isinstance(layer, SensorNorm3d):
            layer.sensors = sensors


@contextmanager
def sensors_are(module: nn.Module, sensors: str) -> Iterator[None]:
    """Normalize volumes of these sensors meanwhile, and of both afterwards."""
    set_sensors(module, sensors)
    try:
        yield
    finally:
        set_sensors(module, "both")
