"""A training step waits for the GPU at few places, and updates no weights with a loss of NaN."""

from collections import Counter
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import loss.label_counts
import model.training_step
from model.render.splat import Splatting
from model.training_step import update_weights
from tests.model_inputs import make_batch, make_model
from utils.host_copy import HostCopy

WAITING = {
    *("_local_scalar_dense", "nonzero", "bincount", "_unique2", "unique_dim", "masked_select"),
    *("unique_consecutive", "_linalg_check_errors", "repeat_interleave", "is_nonzero", "equal"),
}
"""Operators whose result on a GPU the CPU has to wait for."""


class Waits(TorchDispatchMode):
    """Counts the operators that wait, unless they are expected."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.is_expected = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        if not self.is_expected and (by_mask or name in WAITING):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))

    @contextmanager
    def expected(self) -> Any:
        self.is_expected = True
        yield
        self.is_expected = False


def flat_splat(gaussians: Any, pixel_from_lidar: Any, height: int, width: int) -> Splatting:
    """An image of one color in place of gsplat's, which waits once."""
    cameras = pixel_from_lidar.shape[1]
    opacity = gaussians.opacities.mean(1)[:, None, None, None].expand(-1, cameras, height, width)
    features = gaussians.features.mean(1)[:, None, None, None].expand(*opacity.shape, -1)
    return Splatting(features * opacity[..., None], 5 * opacity, opacity)


def test_losses_wait_in_the_lidar_encoder_only(monkeypatch):
    network, batch = make_model(), make_batch(1)
    waits, encode = Waits(), network.lidar_encoder.forward

    def encode_quietly(*args: Any) -> Any:
        with waits.expected():
            return encode(*args)

    reads: Counter[str] = Counter()

    def counted(place: str) -> type[HostCopy]:
        class Counted(HostCopy):
            def read(self) -> torch.Tensor:
                reads[place] += 1
                return super().read()

        return Counted

    monkeypatch.setattr(network.lidar_encoder, "forward", encode_quietly)
    monkeypatch.setattr("model.supervision.splat", flat_splat)
    # The check for singular projections is made on a CPU only.
    monkeypatch.setattr(torch.linalg, "inv_ex", lambda a, check_errors: (torch.linalg.pinv(a), 0))
    monkeypatch.setattr(loss.label_counts, "HostCopy", counted("labels"))
    monkeypatch.setattr(model.training_step, "HostCopy", counted("terms"))
    optimizer = OptimWrapper(torch.optim.SGD(network.parameters(), lr=0.01))
    with waits:
        network.train_step(batch, optimizer)
    assert waits.found == {}
    assert reads == {"labels": 1, "terms": 1}


def test_a_wait_is_found():
    with Waits() as waits:
        values = torch.arange(3.0)
        values[values > 1].sum().item()
    assert waits.found == {"index": 1, "_local_scalar_dense": 1}


def one_weight(accumulation: int = 1) -> tuple[nn.Parameter, OptimWrapper]:
    weight = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    return weight, OptimWrapper(optimizer, accumulative_counts=accumulation)


def test_the_weights_follow_the_sum_of_the_terms():
    weight, optimizer = one_weight()
    values = update_weights({"loss_a": weight**2, "loss_b": 3 * weight}, ["f"], optimizer)
    assert values == {"loss": 10, "loss_a": 4, "loss_b": 6}
    assert weight.item() == pytest.approx(2 - 0.1 * (4 + 3))
    assert weight.grad is None


def test_gradients_accumulate():
    weight, optimizer = one_weight(accumulation=2)
    optimizer.initialize_count_status(nn.Identity(), 0, 4)
    update_weights({"loss_a": 3 * weight}, ["f"], optimizer)
    assert weight.item() == 2
    update_weights({"loss_a": 5 * weight}, ["f"], optimizer)
    assert weight.item() == pytest.approx(2 - 0.1 * 4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_changes_no_weight(value):
    weight, optimizer = one_weight()
    with pytest.raises(FloatingPointError, match=r"frames \['f'\].*loss_b"):
        update_weights({"loss_a": weight, "loss_b": value * weight}, ["f"], optimizer)
    assert weight.item() == 2
