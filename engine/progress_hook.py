"""Progress bars of training and validation."""

import resource
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from utils.progress import Progress


class ProgressHook(Hook):
    """Shows the progress of training and validation, on rank 0."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._train: Progress | None = None
        self._val: Progress | None = None

    def before_train(self, runner: Runner) -> None:
        """Start the training bar."""
        if runner.rank == 0:
            self._train = Progress("train", runner.max_iters, done=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the training bar."""
        if self._train:
            self._train.advance(lambda: train_facts(runner))

    def after_train(self, runner: Runner) -> None:
        """Close the training bar."""
        if self._train:
            self._train.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Start a validation bar."""
        if runner.rank == 0:
            self._val = Progress("score", len(runner.val_dataloader))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the validation bar."""
        if self._val:
            self._val.advance(lambda: "")

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Close the validation bar."""
        if self._val:
            self._val.close()


def memory_gib(device: torch.device) -> float:
    """Return the peak memory of this process so far: of its GPU, or of the host on a CPU [GiB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    # ru_maxrss is in KiB on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def train_facts(runner: Runner) -> str:
    """Format epoch, loss, learning rate, share of time spent waiting for data, and memory."""
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
