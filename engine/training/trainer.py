"""Build the trainer of a config, for one process or several."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from dataset.frame_dataset import FrameDataset
from engine.build.build import (
    amp_dtype,
    balance_classes,
    build_dataset,
    build_model,
    build_optimizer,
    eval_loader,
    place,
    train_loader,
)
from engine.checkpoint.files import LATEST
from engine.checkpoint.origin import describe_training
from engine.evaluation.evaluator import evaluation_section
from engine.progress_hook import ProgressHook
from engine.runner import Trainer, runner_options, wrap_network
from engine.training.board import Board
from engine.training.checkpoint_hook import CheckpointHook
from engine.training.hooks import (
    AverageHook,
    LearningRateHook,
    RecentScalarsHook,
    SeedHook,
)
from engine.training.images_hook import ImagesHook
from engine.training.loop import IterationTimer, TrainLoop
from engine.training.plan import training_plan
from engine.training.validation import check_validation, validation_frames, validation_metrics
from utils.config import Runtime, Schedule, read_section
from utils.distributed import Process
from utils.labels import label_set

KEPT_SCALARS = 1000
"""Values of each logged scalar to keep, unless the log averages more."""

logger = logging.getLogger(__name__)


def find_checkpoint(work_dir: Path, resume_from: Path | None) -> Path | None:
    """Return the checkpoint to resume from: the given one, else ``latest.pth`` of the run.

    A ``latest.pth`` that links to nowhere counts: reading it fails, and nothing begins anew.
    """
    latest = work_dir / LATEST
    if resume_from is not None:
        if latest.exists() and latest.resolve() != resume_from.resolve():
            logger.warning("%s exists too; it will be overwritten", latest)
        return resume_from
    return latest if latest.exists() or latest.is_symlink() else None


def build_trainer(
    cfg: Config,
    work_dir: Path,
    process: Process,
    *,
    seed: int,
    resume_from: Path | None = None,
    iter_resume: bool = False,
    depth_metric: bool = False,
) -> Trainer:
    """Build a trainer with everything that training and validation need.

    Args:
        cfg: The config.
        work_dir: Folder of checkpoints, logs and the config.
        process: This process of the run.
        seed: Seed of the weights, the order of frames, augmentation and dropout.
        resume_from: Checkpoint to resume from; None: start from scratch.
        iter_resume: Also write ``latest.pth`` within epochs.
        depth_metric: Also compute depth errors of the rendered occupancy at each validation.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the config or the data is invalid.
    """
    schedule = read_section(cfg, "schedule", Schedule)
    runtime = read_section(cfg, "runtime", Runtime)
    if schedule.val_interval:
        check_validation(cfg, runtime.best_metric, depth_metric=depth_metric)
    elif depth_metric:
        raise ValueError(
            "--depth-metric reports at validation, which schedule.val_interval=0 switches off: set "
            "it to 1, or leave the option out"
        )
    cfg = balance_classes(cfg)
    mode = "default" if runtime.compile else None
    network = place(build_model(cfg, seed=seed), process.device, compile_mode=mode)
    train_frames = build_dataset(cfg, "train", training=True, seed=seed)
    val_frames = None
    if schedule.val_interval:
        val_frames = validation_frames(cfg, depth_metric=depth_metric)
    counts = {"train": len(train_frames)} | ({} if val_frames is None else {"val": len(val_frames)})
    logger.info(training_plan(cfg, network, counts, process))
    facts = describe_training(cfg)
    hooks = _training_hooks(schedule, runtime, work_dir, facts, seed, resume_from, iter_resume)
    if val_frames is not None and runtime.tensorboard:
        precision = amp_dtype(schedule.amp, process.device)
        hooks.append(ImagesHook(val_frames, label_set(cfg.labels), precision))
    return Trainer(
        is_resumed=resume_from is not None,
        model=wrap_network(network, process, runtime.find_unused_parameters),
        optim_wrapper=build_optimizer(network, schedule, process.device),
        randomness={"seed": seed},
        custom_hooks=hooks,
        **_training_section(train_loader(cfg, train_frames, process, seed), schedule),
        **_validation_section(cfg, val_frames, schedule, process, depth_metric),
        **_runner_section(cfg, runtime, work_dir, process),
    )


def _runner_section(
    cfg: Config, runtime: Runtime, work_dir: Path, process: Process
) -> dict[str, Any]:
    """Return the arguments of ``Trainer`` for logs, with the timer of ``TrainLoop``."""
    backends = [Board.__name__] * runtime.tensorboard
    options = runner_options(cfg, runtime, work_dir, process, backends)
    options["default_hooks"]["timer"] = IterationTimer()
    return options


def _training_section(loader: DataLoader, schedule: Schedule) -> dict[str, Any]:
    """Return the arguments of ``Trainer`` for training."""
    loop = {
        "type": TrainLoop,
        "epochs": schedule.epochs,
        "val_interval": schedule.val_interval,
    }
    return {"train_dataloader": loader, "train_cfg": loop}


def _validation_section(
    cfg: Config,
    frames: FrameDataset | None,
    schedule: Schedule,
    process: Process,
    depth_metric: bool,
) -> dict[str, Any]:
    """Return the arguments of ``Trainer`` for validation; none without frames."""
    if frames is None:
        return {}
    metrics = validation_metrics(cfg, depth_metric=depth_metric)
    loader = eval_loader(cfg, frames, process, schedule.batch_size)
    return evaluation_section(loader, metrics, amp_dtype(schedule.amp, process.device))


def _training_hooks(
    schedule: Schedule,
    runtime: Runtime,
    work_dir: Path,
    facts: Mapping[str, Any],
    seed: int,
    resume_from: Path | None,
    iter_resume: bool,
) -> list[Hook]:
    """Build the hooks: learning rate, seeds, checkpoints, progress and averaged weights."""
    average = AverageHook(schedule.ema_decay) if schedule.ema_decay else None
    checkpoints = CheckpointHook(
        work_dir,
        facts=facts,
        seed=seed,
        best_metric=runtime.best_metric,
        every_iters=runtime.checkpoint_iters if iter_resume else 0,
        accumulation=schedule.gradient_accumulation,
        average=average,
        resume_from=resume_from,
    )
    rate = LearningRateHook(
        schedule.lr, warmup_share=schedule.warmup_share, min_share=schedule.min_lr_share
    )
    recent = RecentScalarsHook(max(KEPT_SCALARS, runtime.log_interval))
    hooks = [rate, SeedHook(seed), checkpoints, ProgressHook(), recent]
    return [*hooks, average] if average else hooks
