"""What happens around the iterations of training: learning rate, seed, averaged weights."""

import math
import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def unwrap(model: nn.Module) -> nn.Module:
    """The network itself, out of the wrapper that several processes need."""
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, nn.Module), "a wrapper holds one network"
    return inner


def learning_rate_share(iteration: int, total: int, *, warmup: int, least: float) -> float:
    """Share of the peak learning rate that an iteration uses.

    Args:
        iteration: Number of the iteration, from 0.
        total: Number of iterations of the whole run.
        warmup: Iterations of linear warm-up; the last of them has the whole rate.
        least: Share at the last iteration.

    Returns:
        (iteration + 1) / warmup in the warm-up, then a half cosine from 1 down to ``least``.
    """
    if iteration < warmup:
        return (iteration + 1) / warmup
    progress = (iteration + 1 - warmup) / max(1, total - warmup)
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class LearningRateHook(Hook):
    """Sets the learning rate of each iteration; it has no state, so resuming is exact.

    Args:
        peak: Learning rate at the end of the warm-up.
        warmup_share: Share of all iterations that the warm-up takes.
        min_share: Share of the peak at the end.
    """

    priority = "HIGHEST"

    def __init__(self, peak: float, *, warmup_share: float, min_share: float):
        self.peak = peak
        self.warmup_share = warmup_share
        self.min_share = min_share

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the rate in every group of the optimiser."""
        total = runner.max_iters
        warmup = round(total * self.warmup_share)
        share = learning_rate_share(runner.iter, total, warmup=warmup, least=self.min_share)
        for group in runner.optim_wrapper.param_groups:
            group["lr"] = self.peak * share


class SeedHook(Hook):
    """Seeds the random numbers of each iteration, so that it does not matter what ran before.

    Args:
        seed: Seed of the run; iterations and processes draw different numbers from it.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int):
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed Python's and torch's generators, on every device."""
        sequence = np.random.SeedSequence((self.seed, runner.iter, runner.rank))
        number = int(sequence.generate_state(1)[0])
        random.seed(number)
        torch.manual_seed(number)


class AverageHook(Hook):
    """Keeps an exponential moving average of the weights, and lends it to each validation.

    The average follows each update of the optimiser. Its decay rises as (1 + n) / (10 + n) with
    the number n of updates, up to ``decay``, so that a short run is not held by its start.

    Args:
        decay: Share of the average that an update keeps, in (0, 1).
    """

    priority = "NORMAL"

    def __init__(self, decay: float):
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Begin with the weights of the network, unless a checkpoint brought an average."""
        if not self.average:
            weights = unwrap(runner.model).named_parameters()
            self.average = {name: weight.detach().clone() for name, weight in weights}

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Follow the weights if this iteration changed them."""
        if not runner.optim_wrapper.should_update():
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = [weight.detach() for weight in unwrap(runner.model).parameters()]
        get_ema_multi_avg_fn(decay)(list(self.average.values()), current, self.updates)
        self.updates += 1

    def before_val_epoch(self, runner: Runner) -> None:
        """Put the average in the network's place."""
        self._exchange(unwrap(runner.model))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Put the network's own weights back."""
        self._exchange(unwrap(runner.model))

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The state of ``model`` with averaged weights; buffers are the model's own."""
        return {**model.state_dict(), **self.average}

    def go_on_from(self, weights: dict[str, Tensor], updates: int, model: nn.Module) -> None:
        """Go on from an average that ``weights`` returned before."""
        self.average = {
            name: weights[name].to(parameter.device, copy=True)
            for name, parameter in model.named_parameters()
        }
        self.updates = updates

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for name, weight in model.named_parameters():
            kept = weight.detach().clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(kept)
