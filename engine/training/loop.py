"""The training loop, which can start mid-epoch, and its times."""

import time
from typing import Any

from mmengine.dist import broadcast, is_distributed
from mmengine.hooks import IterTimerHook
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from engine.build.sampler import EpochBatches
from engine.training.hooks import unwrap


class TrainLoop(BaseLoop):
    """Trains epoch by epoch with validations in between, from any iteration.

    Args:
        runner: The runner.
        dataloader: Loader whose batch sampler is an ``EpochBatches``.
        epochs: Number of epochs of the whole run.
        val_interval: Epochs between validations; the last epoch is always validated.

    Attributes:
        waited_s: Time that the loop waited for its latest batch [s].
    """

    def __init__(self, runner: Runner, dataloader: DataLoader, epochs: int, val_interval: int):
        super().__init__(runner, dataloader)
        self.max_epochs = epochs
        self.max_iters = epochs * len(dataloader)
        self.val_interval = val_interval
        self.epoch = 0
        self.iter = 0
        self.validated_epoch = 0
        self.waited_s = 0.0
        self._start = (0, 0)

    def start_at(self, epoch: int, iteration: int, validated_epoch: int) -> None:
        """Start after ``iteration`` iterations, within ``epoch``; earlier validations are done."""
        self._start = (epoch, iteration)
        self.validated_epoch = validated_epoch

    def run(self) -> nn.Module:
        """Train to the last epoch."""
        self.epoch, self.iter = self._start
        self.runner.call_hook("before_train")
        self._validate_if_due()
        while self.epoch < self.max_epochs:
            self._run_epoch()
            self._validate_if_due()
        self.runner.call_hook("after_train")
        return self.runner.model

    def _run_epoch(self) -> None:
        """Train the rest of the epoch; gradient accumulation stops at its end."""
        first, length = self.iter - self.epoch * len(self.dataloader), len(self.dataloader)
        sampler = self.dataloader.batch_sampler
        assert isinstance(sampler, EpochBatches), "resuming needs a sampler that can start anywhere"
        sampler.start_at(self.epoch, first)
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, first, length)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        began = time.perf_counter()
        for index, batch in enumerate(self.dataloader, start=first):
            self.waited_s = time.perf_counter() - began
            self.runner.call_hook("before_train_iter", batch_idx=index, data_batch=batch)
            outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
            self.runner.call_hook(
                "after_train_iter", batch_idx=index, data_batch=batch, outputs=outputs
            )
            self.iter += 1
            began = time.perf_counter()
        _share_buffers(unwrap(self.runner.model))
        self.runner.call_hook("after_train_epoch")
        self.epoch += 1

    def _validate_if_due(self) -> None:
        """Validate a finished epoch, unless that was done before an interruption."""
        is_finished = self.iter == self.epoch * len(self.dataloader)
        is_due = self.val_interval and (
            self.epoch % self.val_interval == 0 or self.epoch == self.max_epochs
        )
        if self.runner.val_loop and is_finished and is_due and self.epoch > self.validated_epoch:
            self.runner.val_loop.run()


class IterationTimer(IterTimerHook):
    """Logs the time of each iteration, and of it the time that the loop waited for its batch.

    mmengine's own also counts as waiting what hooks do after it, such as writing checkpoints.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Log how long the loop waited."""
        runner.message_hub.update_scalar("train/data_time", runner.train_loop.waited_s)


def _share_buffers(model: nn.Module) -> None:
    """Broadcast the first process's running statistics, so that all validate the same network."""
    if is_distributed():
        for buffer in model.buffers():
            broadcast(buffer)
