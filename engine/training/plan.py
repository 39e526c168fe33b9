"""Summary of a training run: network, data and schedule of a config."""

import math
from collections.abc import Mapping

from mmengine.config import Config
from torch import nn

from engine.build.build import build_dataset, build_model, build_optimizer
from engine.build.class_balance import counted_keys
from engine.training.validation import check_validation, validation_frames
from utils.config import Runtime, Schedule, read_section
from utils.distributed import Process


def dry_run(cfg: Config, process: Process, seed: int, *, depth_metric: bool = False) -> str:
    """Build everything that training needs, and describe the run without training.

    Args:
        cfg: The config.
        process: This process of the run.
        seed: Seed of the weights.
        depth_metric: Whether validation scores depth, too.

    Returns:
        A few lines of text. They list missing data or pretrained weights; all else is checked
        anyway.

    Raises:
        ValueError: If the config is invalid.
    """
    schedule = read_section(cfg, "schedule", Schedule)
    runtime = read_section(cfg, "runtime", Runtime)
    if schedule.val_interval:
        check_validation(cfg, runtime.best_metric, depth_metric=depth_metric)
    network = build_model(cfg, seed=seed)
    build_optimizer(network, schedule, process.device)
    frames: dict[str, int] = {}
    missing = ""
    try:
        network.init_weights()
    except FileNotFoundError as error:
        missing += f"\nmissing   the initial weights: {error}"
    try:
        train = len(build_dataset(cfg, "train", training=True))
        val = 0
        if schedule.val_interval:
            val = len(validation_frames(cfg, depth_metric=depth_metric))
        frames = {"train": train, "val": val}
    except FileNotFoundError as error:
        missing += f"\nmissing   the data (not checked): {error}"
    keys = counted_keys(cfg)
    counted = (
        f"\nbalance   {' and '.join(keys)} from label counts, computed before training"
        if keys
        else ""
    )
    return training_plan(cfg, network, frames, process) + counted + missing


def training_plan(
    cfg: Config, network: nn.Module, frames: Mapping[str, int], process: Process
) -> str:
    """Describe network, data and schedule in a few lines.

    Args:
        cfg: The config.
        network: The network, built from it.
        frames: Number of frames by split; empty if the data is missing.
        process: This process of the run.
    """
    schedule = read_section(cfg, "schedule", Schedule)
    lines = [f"config    {cfg.filename}", f"network   {_parameters(network)}"]
    if frames:
        iterations = math.ceil(
            math.ceil(frames["train"] / process.world_size) / schedule.batch_size
        )
        counts = ", ".join(f"{count} {split}" for split, count in frames.items())
        lines.append(f"data      {cfg.data_root}: {counts} frames")
        lines.append(f"length    {schedule.epochs} epochs of {iterations} iterations")
    if schedule.repeat_threshold:
        lines.append(
            f"sampling  classes in less than {schedule.repeat_threshold:g} of the frames come more "
            "often; label counts, computed before training, say how much longer an epoch gets"
        )
    lines.append(f"schedule  {_schedule_text(schedule, process)}")
    return "\n".join(lines)


def _parameters(network: nn.Module) -> str:
    """Format the number of parameters, in total and of each part."""
    parts = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in network.named_children()
    }
    listed = ", ".join(f"{name} {_in_millions(count)}" for name, count in parts.items() if count)
    total = sum(weight.numel() for weight in network.parameters())
    return f"{type(network).__name__}, {_in_millions(total)} parameters ({listed})"


def _schedule_text(schedule: Schedule, process: Process) -> str:
    frames = schedule.batch_size * schedule.gradient_accumulation * process.world_size
    processes = "1 process" if process.world_size == 1 else f"{process.world_size} processes"
    average = f"moving average {schedule.ema_decay}" if schedule.ema_decay else "no moving average"
    return (
        f"AdamW, learning rate {schedule.lr:g}, {frames} frames per update, {average}, "
        f"precision {schedule.amp}, {processes} on {process.device.type}"
    )


def _in_millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)
