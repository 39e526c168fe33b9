"""Time the loop of train.py on the files of a data set, and its step alone.

The loop is the real one: data loader, copies to the device, hooks, logging, checkpoints. The step
is ``train_step``, repeated on one of the same batches, already on the device.
"""

import itertools
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dataset.sample import Batch
from engine.benchmark.timing import Clock, Timing, time_runs
from engine.training.hooks import unwrap
from engine.training.trainer import build_trainer
from utils.distributed import Process

SEED = 42


def time_training_loop(
    cfg: Config, process: Process, *, amp: str, batch_size: int, iterations: int, warmup: int
) -> dict[str, Any]:
    """Time training iterations as a user of train.py sees them.

    Args:
        cfg: The config; the arguments below override its schedule.
        process: This process of the run; all processes call this.
        amp: Precision: "off", "bf16" or "fp16".
        batch_size: Frames per step of each process.
        iterations: Number of timed iterations.
        warmup: Number of warmup iterations.

    Returns:
        ``loop`` and ``step``: times of this process as in ``Timing`` [ms]; ``frames_per_s`` of the
        loops of all processes; ``share_of_step``: speed of the loop relative to the step;
        ``waiting_share``: share of the loop's time spent waiting for data, of the process that
        waits most; ``peak_bytes`` of the process that needs most.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the config or the data is invalid.
    """
    cfg = cfg.copy()
    values = {"amp": amp, "batch_size": batch_size, "val_interval": 0, "epochs": 1}
    cfg.merge_from_dict({f"schedule.{key}": value for key, value in values.items()})
    clock = Clock(process.device)
    timer = _IterationTimer(clock, warmup, warmup + iterations)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, Path(folder), process, seed=SEED)
        trainer.register_hook(timer, priority="HIGHEST")
        loop = trainer.train_loop
        loop.max_epochs = -(-timer.last // len(loop.dataloader))
        loop.max_iters = loop.max_epochs * len(loop.dataloader)
        with suppress(_Done):
            trainer.train()
    assert timer.batch is not None, "the hook keeps the last batch"
    found = _loop_stats(timer, clock.peak_bytes())
    network: Any = unwrap(trainer.model)
    batch, optimizer = timer.batch.to(clock.device), trainer.optim_wrapper
    step = time_runs(lambda: network.train_step(batch, optimizer), clock, iterations, warmup)
    share = step.median_ms / found["loop"]["median_ms"]
    return found | {"step": asdict(step), "share_of_step": share}


def _loop_stats(timer: "_IterationTimer", peak_bytes: int | None) -> dict[str, Any]:
    """Summarize the timed iterations of all processes."""
    times_ms = [1e3 * (end - start) for start, end in itertools.pairwise(timer.ends)]
    whole_s = 1e-3 * sum(times_ms)
    mine = (timer.frames / whole_s, sum(timer.waits_s) / whole_s, peak_bytes)
    speeds, waits, peaks = zip(*all_gather_object(mine), strict=True)
    return {
        "loop": asdict(Timing.of_runs(times_ms)),
        "frames_per_s": sum(speeds),
        "waiting_share": max(waits),
        "peak_bytes": None if peak_bytes is None else max(peaks),
    }


class _Done(Exception):
    """Raised after the last iteration."""


class _IterationTimer(Hook):
    """Records when iterations end, and how long each waited for data.

    Attributes:
        ends: End times of the last warmup iteration and of each timed iteration [s].
        waits_s: Time that each timed iteration waited for data [s].
        batch: The last batch.
        frames: Number of frames in the timed iterations.
        last: Number of iterations after which training stops.
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
        """Record an iteration; synchronize with the device only at the first and the last one."""
        done = runner.iter + 1
        if done < self.first:
            return
        self._clock.note_peak()
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
            raise _Done
