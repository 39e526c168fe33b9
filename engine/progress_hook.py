"""Shows how far training and validation are."""

import resource
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from utils.progress import Progress


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
