"""Hooks of the training loop: learning rate, seeds and averaged weights."""

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
    """Return the network inside its wrapper for distributed training, if any."""
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, nn.Module), "a model wrapper must hold a network"
    return inner


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that are not frozen, by name, without their gradients."""
    weights = model.named_parameters()
    return {name: weight.detach() for name, weight in weights if weight.requires_grad}


def learning_rate_share(iteration: int, total: int, *, warmup: int, min_share: float) -> float:
    """Return the share of the peak learning rate at an iteration.

    Args:
        iteration: Index of the iteration.
        total: Number of iterations of the whole run.
        warmup: Iterations of linear warmup; the last one reaches the peak.
        min_share: Share at the last iteration.

    Returns:
        (iteration + 1) / warmup during warmup, then cosine decay from 1 to ``min_share``.
    """
    if iteration < warmup:
        return (iteration + 1) / warmup
    progress = (iteration + 1 - warmup) / max(1, total - warmup)
    return min_share + (1 - min_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class LearningRateHook(Hook):
    """Sets the learning rate of each iteration; it has no state, so resuming is exact.

    Args:
        peak: Learning rate at the end of warmup.
        warmup_share: Share of all iterations used for warmup.
        min_share: Final learning rate, as a share of the peak.
    """

    priority = "HIGHEST"

    def __init__(self, peak: float, *, warmup_share: float, min_share: float):
        self.peak = peak
        self.warmup_share = warmup_share
        self.min_share = min_share

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the learning rate of every parameter group."""
        total = runner.max_iters
        warmup = round(total * self.warmup_share)
        share = learning_rate_share(runner.iter, total, warmup=warmup, min_share=self.min_share)
        for group in runner.optim_wrapper.param_groups:
            group["lr"] = self.peak * share


class SeedHook(Hook):
    """Seeds each iteration, so that its random numbers do not depend on what ran before.

    Args:
        seed: Seed of the run; each iteration and process derives its own seed from it.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int):
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed Python's and torch's generators, on all devices."""
        sequence = np.random.SeedSequence((self.seed, runner.iter, runner.rank))
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        torch.manual_seed(seed)


class RecentScalarsHook(Hook):
    """Forgets logged scalars but for the last ones, which the log averages.

    mmengine copies the history of each scalar whenever it adds a value: after 100,000 iterations,
    that takes 12 ms an iteration.

    Args:
        number: Values to keep.
    """

    priority = "VERY_LOW"

    def __init__(self, number: int):
        self.number = number

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Limit the histories that there are."""
        for history in runner.message_hub.log_scalars.values():
            history.max_length = self.number


class AverageHook(Hook):
    """Keeps an exponential moving average of the weights that train, and validates with it.

    The average is updated after each optimizer step. Its decay grows with the number n of updates
    as (1 + n) / (10 + n), up to ``decay``, so that a short run is not biased to its start.

    Args:
        decay: Decay of the moving average, in (0, 1).
    """

    priority = "NORMAL"

    def __init__(self, decay: float):
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._weights: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Start from the weights of the network, unless an average was resumed."""
        weights = trained_weights(unwrap(runner.model))
        if not self.average:
            self.average = {name: weight.clone() for name, weight in weights.items()}
        self._weights = list(weights.values())

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the average if this iteration changed the weights."""
        if not runner.optim_wrapper.should_update():
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(list(self.average.values()), self._weights, self.updates)
        self.updates += 1

    def before_val_epoch(self, runner: Runner) -> None:
        """Swap the average into the network."""
        self._swap(unwrap(runner.model))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Swap the weights in training back."""
        self._swap(unwrap(runner.model))

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the state of ``model`` with averaged weights and its own buffers."""
        return {**model.state_dict(), **self.average}

    def resume(self, weights: dict[str, Tensor], updates: int, model: nn.Module) -> None:
        """Resume from an average that ``weights`` returned."""
        self.average = {
            name: weights[name].to(weight.device, copy=True)
            for name, weight in trained_weights(model).items()
        }
        self.updates = updates

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, weight in trained_weights(model).items():
            current = weight.clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(current)
