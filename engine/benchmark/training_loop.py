"""How fast train.py's own loop is on the files of a data set, beside its step alone.

The loop is the real one: data loader, copies to the device, hooks, logging, checkpoints. The step
is ``train_step`` on one of the same batches, again and again, with the batch on the device.
"""

import itertools
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dataset.sample import Batch
from engine.training.hooks import unwrap
from engine.training.trainer import build_trainer
from utils.distributed import Process
from utils.timing import Clock, Timing, time_runs

SEED = 42


def time_training_loop(
    cfg: Config, clock: Clock, *, amp: str, batch_size: int, iterations: int, warmup: int
) -> dict[str, Any]:
    """Train for some iterations, and time them as a user of train.py has them.

    Args:
        cfg: The config; its data is read, its schedule apart from what is given here followed.
        clock: The clock of the device.
        amp: Precision: "off", "bf16" or "fp16".
        batch_size: Frames of a step.
        iterations: Timed iterations.
        warmup: Iterations before.

    Returns:
        ``loop`` and ``step``, times as of ``Timing`` [ms]; ``frames_per_s`` of the loop;
        ``share_of_step``: speed of the loop over that of the step; ``waiting_share``: of the
        loop's time, how much it waits for data; ``peak_bytes``.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If the config or the data is at fault.
    """
    cfg = cfg.copy()
    values = {"amp": amp, "batch_size": batch_size, "val_interval": 0, "epochs": 1}
    cfg.merge_from_dict({f"schedule.{key}": value for key, value in values.items()})
    process = Process(0, 1, clock.device)
    watch = _Watch(clock, warmup, warmup + iterations)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, Path(folder), process, seed=SEED)
        trainer.register_hook(watch, priority="LOWEST")
        loop = trainer.train_loop
        loop.max_epochs = -(-watch.last // len(loop.dataloader))
        loop.max_iters = loop.max_epochs * len(loop.dataloader)
        with suppress(_Enough):
            trainer.train()
    assert watch.batch is not None, "the loop ends with its last batch in hand"
    found = _of_loop(watch) | {"peak_bytes": clock.peak_bytes()}
    network: Any = unwrap(trainer.model)
    batch, optimizer = watch.batch.to(clock.device), trainer.optim_wrapper
    step = time_runs(lambda: network.train_step(batch, optimizer), clock, iterations, warmup)
    share = step.median_ms / found["loop"]["median_ms"]
    return found | {"step": asdict(step), "share_of_step": share}


def _of_loop(watch: "_Watch") -> dict[str, Any]:
    times_ms = [1e3 * (end - start) for start, end in itertools.pairwise(watch.ends)]
    return {
        "loop": asdict(Timing.of_runs(times_ms)),
        "frames_per_s": 1e3 * watch.frames / sum(times_ms),
        "waiting_share": 1e3 * sum(watch.waits_s) / sum(times_ms),
    }


class _Enough(Exception):
    """The last iteration is done."""


class _Watch(Hook):
    """Writes down when iterations end, and how long each waited for its data.

    Attributes:
        ends: When the last iteration before the timed ones, and each of those, ended [s].
        waits_s: How long each timed iteration waited [s].
        batch: The last batch.
        frames: Frames of the timed iterations.
        last: Number of iterations after which it ends the training.
    """

    def __init__(self, clock: Clock, first: int, last: int) -> None:
        self.ends: list[float] = []
        self.waits_s: list[float] = []
        self.batch: Batch | None = None
        self.frames = 0
        self.first, self.last = max(first, 1), max(first, 1) + last - first
        self._clock = clock

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """One iteration more; only at the first and the last one is the device waited for."""
        done = runner.iter + 1
        if done < self.first:
            return
        if done in (self.first, self.last):
            self._clock.wait()
        if done == self.first:
            self._clock.reset_peak()
        else:
            waits = runner.message_hub.get_scalar("train/data_time")
            self.waits_s.append(float(waits.current()))
            self.frames += len(data_batch)
        self.ends.append(time.perf_counter())
        self.batch = data_batch
        if done == self.last:
            raise _Enough
