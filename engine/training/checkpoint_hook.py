"""Checkpoints of a training run: when they are written, and how a run resumes."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from engine.agreement import check_agreement
from engine.checkpoint.files import AVERAGED, BEST, BEST_MARK, LATEST, save_atomically
from engine.checkpoint.origin import compare_with_run, stored_config
from engine.checkpoint.weights import fill, network_weights, renamed, with_training_parts
from engine.evaluation.depth_metric import LOWER_IS_BETTER, PREFIX
from engine.training.hooks import AverageHook, unwrap
from engine.training.position import resume_position
from model.unsocc import TRAINING_PARTS
from model.weight_files import WEIGHTS, check_finite, first_non_finite, read_checkpoint
from utils.whole_files import write_json, write_whole

logger = logging.getLogger(__name__)

TRAINING_STATE = {
    *(WEIGHTS, AVERAGED, "updates", "optimizer", "epoch", "iteration"),
    *("iterations_per_epoch", "validated_epoch", "best", "seed"),
}
"""Entries that ``latest.pth`` has in every version, and that resuming needs."""


class CheckpointHook(Hook):
    """Writes the checkpoints of a run, and resumes from one.

    ``latest.pth`` is written after each epoch, after each validation, and every ``every_iters``
    iterations if that is set; resuming from it gives the same losses and weights as an
    uninterrupted run. ``model_state_dict.pth`` has the weights of the best validation, or of the
    last epoch without validation.

    Args:
        work_dir: Folder of the checkpoints.
        facts: What each checkpoint stores about the training: ``describe_training``.
        seed: Seed of the run.
        best_metric: Name of the score that selects the best validation; higher is better, except
            for depth errors.
        every_iters: Iterations between checkpoints within an epoch; 0: only at its end.
        accumulation: Iterations per update of the weights.
        average: The hook that averages weights, if any.
        resume_from: Checkpoint to resume from; one without training state, such as
            ``model_state_dict.pth``, only gives the initial weights.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        work_dir: Path,
        *,
        facts: Mapping[str, Any],
        seed: int,
        best_metric: str,
        every_iters: int = 0,
        accumulation: int = 1,
        average: AverageHook | None = None,
        resume_from: Path | None = None,
    ):
        self.work_dir = work_dir
        self.facts = facts
        self.seed = seed
        self.best_metric = best_metric
        self.every_iters = every_iters
        self.accumulation = accumulation
        self.average = average
        self.resume_from = resume_from
        self.best: dict[str, Any] | None = None
        self._last_write = 0

    def resume_training(self, runner: Runner) -> None:
        """Resume from the checkpoint, if any; the runner calls this before it trains.

        Raises:
            ValueError: If the checkpoint does not match the network or the run.
        """
        path, model = self.resume_from, unwrap(runner.model)
        checkpoint = None if path is None else read_checkpoint(path)
        check_agreement({"checkpoint": _described(checkpoint, path)})
        if checkpoint is None or path is None:
            return
        is_resumed = checkpoint.keys() >= TRAINING_STATE
        trained = stored_config(checkpoint, path)
        compare_with_run(trained, self.facts["config"], path, exact=is_resumed)
        if not is_resumed:
            self._start_from(model, checkpoint, path)
            return
        loader = runner.train_dataloader
        epoch, iteration = resume_position(
            checkpoint,
            loader.batch_sampler.layout(),
            len(loader),
            accumulation=self.accumulation,
            path=path,
        )
        check_finite({key: checkpoint[key] for key in (WEIGHTS, AVERAGED, "optimizer")}, path)
        fill(model, renamed(checkpoint[WEIGHTS]), path)
        if self.average is not None and checkpoint[AVERAGED] is not None:
            self.average.resume(renamed(checkpoint[AVERAGED]), checkpoint["updates"], model)
        restore_optimizer(runner.optim_wrapper, checkpoint["optimizer"])
        runner.train_loop.start_at(epoch, iteration, checkpoint["validated_epoch"])
        self.best = self._best_to_beat(runner, checkpoint["best"], path)
        self._last_write = iteration
        logger.info("resuming from %s: epoch %d, iteration %d", path, epoch, iteration)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write within an epoch, at the first optimizer step after each ``every_iters``."""
        done = runner.iter + 1
        is_due = self.every_iters and done - self._last_write >= self.every_iters
        is_last_of_epoch = batch_idx + 1 == len(runner.train_dataloader)
        if is_due and not is_last_of_epoch and runner.optim_wrapper.should_update():
            self._write(runner, runner.epoch, done)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write a checkpoint of the finished epoch."""
        self._write(runner, runner.epoch + 1, runner.iter)
        if runner.val_loop is None:
            self._write_best(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the weights of the best validation, and record that this one is done.

        Raises:
            ValueError: If the validation has no score ``best_metric``.
        """
        score = _score(metrics or {}, self.best_metric)
        runner.train_loop.validated_epoch = runner.epoch
        is_best = self.best is None or self._rank_of(score) > self._rank_of(self.best["value"])
        best = " (best so far)" if is_best else ""
        logger.info("epoch %d: %s%s", runner.epoch, _summary(metrics or {}), best)
        if is_best:
            self.best = {
                "metric": self.best_metric,
                "value": None if math.isnan(score) else score,
                "epoch": runner.epoch,
                "iteration": runner.iter,
            }
            self._write_best(runner)
            if runner.rank == 0:
                write_json(self.best, self.work_dir / BEST_MARK)
        self._write(runner, runner.epoch, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Log where the final weights are."""
        which = f" of epoch {self.best['epoch']}" if self.best else ""
        logger.info("training finished; weights%s: %s", which, self.work_dir / BEST)

    def _rank_of(self, score: float | None) -> float:
        """Return a sort key for scores, with undefined ones last."""
        if score is None or math.isnan(score):
            return -math.inf
        return -score if self.best_metric in LOWER_IS_BETTER else score

    def _best_to_beat(
        self, runner: Runner, best: dict[str, Any] | None, path: Path
    ) -> dict[str, Any] | None:
        """Return the best validation so far, and copy its weights to this run's folder.

        Args:
            runner: The runner.
            best: The best validation according to the checkpoint.
            path: The checkpoint.

        Returns:
            None if there was no validation, another score selected it, its weights are missing,
            or this run does not validate.
        """
        if best is None or runner.val_loop is None:
            return None
        if best["metric"] != self.best_metric:
            logger.warning(
                "%s tracked the best %s, but this run tracks %s: the next validation counts as the "
                "best so far",
                path,
                best["metric"],
                self.best_metric,
            )
            return None
        is_here = path.parent.resolve() == self.work_dir.resolve()
        if not ((path.parent / BEST).is_file() if is_here else _holds(path.parent, best)):
            logger.warning(
                "the folder of %s lacks the best weights so far, of epoch %d, or a %s that names "
                "them: the next validation counts as the best so far",
                path,
                best["epoch"],
                BEST_MARK,
            )
            return None
        if runner.rank == 0 and not is_here:
            for name in (BEST, BEST_MARK):
                write_whole(self.work_dir / name, (path.parent / name).read_bytes())
        return best

    def _start_from(self, model: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
        """Use the weights of a checkpoint that this run does not resume."""
        weights = network_weights(checkpoint, path)
        check_finite(weights, path)
        fill(model, with_training_parts(weights, model, TRAINING_PARTS, path), path)
        if "optimizer" in checkpoint:
            logger.warning(
                "%s is the training state of another program: only its weights are used, and "
                "training starts at the first epoch",
                path,
            )
        logger.info("initial weights: %s", path)

    def _write_best(self, runner: Runner) -> None:
        """Write the weights for inference."""
        model = unwrap(runner.model)
        weights = self.average.weights(model) if self.average else model.state_dict()
        self._save(runner, {WEIGHTS: {name: value.cpu() for name, value in weights.items()}}, BEST)

    def _write(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Write the full state of the run."""
        self._last_write = iteration
        model = unwrap(runner.model)
        state = {
            WEIGHTS: model.state_dict(),
            AVERAGED: self.average.weights(model) if self.average else None,
            "updates": self.average.updates if self.average else 0,
            "optimizer": runner.optim_wrapper.state_dict(),
            "epoch": epoch,
            "iteration": iteration,
            "iterations_per_epoch": len(runner.train_dataloader),
            "validated_epoch": runner.train_loop.validated_epoch,
            "best": self.best,
            "seed": self.seed,
            "layout": runner.train_dataloader.batch_sampler.layout(),
        }
        self._save(runner, state, LATEST)

    def _save(self, runner: Runner, content: Mapping[str, Any], name: str) -> None:
        """Write a checkpoint, on the first process, with what it stores about the training.

        Raises:
            FloatingPointError: If a value is not finite, on all processes; nothing is written.
        """
        bad = first_non_finite(content)
        if bad is not None:
            raise FloatingPointError(
                f"the training diverged before iteration {runner.iter}: {bad}. {name} is not "
                f"written; if {self.work_dir} has one, it is from before. Resume from it with a "
                "lower schedule.lr, schedule.clip_grad_norm, or --amp off"
            )
        if runner.rank == 0:
            save_atomically({**content, **self.facts}, self.work_dir / name)


def restore_optimizer(optim_wrapper: Any, state: Mapping[str, Any]) -> None:
    """Restore the state of an optimizer, but keep the weight decay of the config.

    Args:
        optim_wrapper: The optimizer in mmengine's wrapper; its learning rate is set separately.
        state: The wrapper's ``state_dict``, saved in any precision.
    """
    groups = optim_wrapper.param_groups
    decays = [group["weight_decay"] for group in groups]
    # bfloat16 saves an empty scaler state, which a float16 scaler rejects.
    given = {key: value for key, value in state.items() if key != "loss_scaler" or value}
    optim_wrapper.load_state_dict(given)
    for group, decay in zip(optim_wrapper.param_groups, decays, strict=True):
        group["weight_decay"] = decay


def _described(checkpoint: Mapping[str, Any] | None, path: Path | None) -> str:
    """Describe what a process resumes from, for ``check_agreement``."""
    if checkpoint is None:
        return "none"
    at = checkpoint.get("iteration")
    return str(path) if at is None else f"{path} of iteration {at}"


def _holds(folder: Path, best: Mapping[str, Any]) -> bool:
    """Return whether a folder has the weights of the validation ``best``."""
    mark = folder / BEST_MARK
    if not ((folder / BEST).is_file() and mark.is_file()):
        return False
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8")) == best)
    except ValueError as error:
        logger.warning("%s is not valid JSON and is ignored: %s", mark, error)
        return False


def _score(metrics: Mapping[str, float], name: str) -> float:
    for key, value in metrics.items():
        if key == name or key.endswith(f"/{name}"):
            return float("nan") if value is None else float(value)
    raise ValueError(f"runtime.best_metric is '{name}', but validation gives {sorted(metrics)}")


def _summary(metrics: Mapping[str, float]) -> str:
    """Format the overall scores in percent, and depth errors as they are."""
    return ", ".join(
        f"{name} -" if math.isnan(value) else f"{name} {_unit(name) * value:.2f}"
        for name, value in metrics.items()
        if not name.startswith("iou_")
    )


def _unit(name: str) -> float:
    return 1.0 if name.startswith(PREFIX) else 100.0
