"""Progress of training and scoring: bars on a terminal, a few lines elsewhere."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from utils.console import say

Item = TypeVar("Item")

LINE_SECONDS = 10.0
LINE_SHARE = 0.02
"""Without a terminal, a line comes when both this time and this share of the work have passed."""


class ProgressHook(Hook):
    """Shows how far training and validation are, in the first process."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._train: Progress | None = None
        self._val: Progress | None = None

    def before_train(self, runner: Runner) -> None:
        """Begin the bar of the whole training."""
        if runner.rank == 0:
            self._train = Progress("train", runner.max_iters, done=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """One iteration more."""
        if self._train:
            self._train.advance(lambda: train_facts(runner))

    def after_train(self, runner: Runner) -> None:
        """End the bar."""
        if self._train:
            self._train.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin a bar for one validation."""
        if runner.rank == 0:
            self._val = Progress("score", len(runner.val_dataloader))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """One batch more."""
        if self._val:
            self._val.advance(lambda: "")

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """End the bar."""
        if self._val:
            self._val.close()


class Progress:
    """A bar on a terminal; elsewhere a line now and then, never hundreds of them.

    Args:
        name: What is going on.
        total: Number of steps.
        done: Steps done before.
    """

    def __init__(self, name: str, total: int, done: int = 0):
        self.name = name
        self.total = total
        self.done = done
        self._first = done
        self._began = time.monotonic()
        self._said = (self._began, done)
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=name, total=total, initial=done, leave=False, dynamic_ncols=True, unit="it"
            )

    def advance(self, facts: Callable[[], str]) -> None:
        """One step more.

        Args:
            facts: Called for a short text about the step when one is to be shown.
        """
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(facts(), refresh=False)
            self._bar.update()
        elif self._line_is_due():
            self._said = (time.monotonic(), self.done)
            say(f"{self.name} {self.done}/{self.total}  {facts()}  {self._time_left()} left")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _line_is_due(self) -> bool:
        seconds, steps = time.monotonic() - self._said[0], self.done - self._said[1]
        return seconds >= LINE_SECONDS and steps >= LINE_SHARE * self.total

    def _time_left(self) -> timedelta:
        rate = (time.monotonic() - self._began) / (self.done - self._first)
        return timedelta(seconds=round(rate * (self.total - self.done)))


def with_progress(
    items: Iterable[Item],
    name: str,
    total: int,
    *,
    facts: Callable[[Item], str] = lambda _: "",
    shown: bool = True,
) -> Iterator[Item]:
    """The items one by one, with a bar that goes on when one is done with.

    Args:
        items: What is worked on.
        name: What is going on.
        total: Number of items.
        facts: A short text about an item.
        shown: False shows nothing.
    """
    progress = Progress(name, total) if shown else None
    try:
        for item in items:
            yield item
            if progress:
                progress.advance(partial(facts, item))
    finally:
        if progress:
            progress.close()


def memory_gib(device: torch.device) -> float:
    """The most memory that this process has used so far: of its GPU, or of the machine [GiB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    # Linux gives kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def train_facts(runner: Runner) -> str:
    """Epoch, loss, learning rate, the share of time spent waiting for data, and memory."""
    scalars = runner.message_hub.log_scalars
    loss, rate, waiting, step = (
        scalars[f"train/{name}"].mean(10) for name in ("loss", "lr", "data_time", "time")
    )
    share = waiting / max(step, 1e-9)
    memory = memory_gib(next(runner.model.parameters()).device)
    return (
        f"epoch {runner.epoch + 1} loss {loss:.3f} lr {rate:.1e} data {share:.0%} "
        f"memory {memory:.1f} GiB"
    )
