"""Checkpoints of a training run: when they are written, and how a run resumes."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from engine.training.hooks import AverageHook, unwrap
from utils.checkpoint import (
    AVERAGED,
    BEST,
    BEST_MARK,
    LATEST,
    WEIGHTS,
    fill,
    network_weights,
    read_checkpoint,
    save_atomically,
)
from utils.whole_files import write_json, write_whole

logger = logging.getLogger(__name__)


class CheckpointHook(Hook):
    """Writes the checkpoints of a run, and resumes from one.

    ``latest.pth`` is written after each epoch, after each validation, and every ``every_iters``
    iterations if that is set; resuming from it gives the same losses and weights as an
    uninterrupted run. ``model_state_dict.pth`` has the weights of the best validation, or of the
    last epoch without validation.

    Args:
        work_dir: Folder of the checkpoints.
        seed: Seed of the run.
        best_metric: Name of the score that selects the best validation; higher is better.
        every_iters: Iterations between checkpoints within an epoch; 0: only at its end.
        average: The hook that averages weights, if any.
        resume_from: Checkpoint to resume from; one without training state, such as
            ``model_state_dict.pth``, only gives the initial weights.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        work_dir: Path,
        *,
        seed: int,
        best_metric: str,
        every_iters: int = 0,
        average: AverageHook | None = None,
        resume_from: Path | None = None,
    ):
        self.work_dir = work_dir
        self.seed = seed
        self.best_metric = best_metric
        self.every_iters = every_iters
        self.average = average
        self.resume_from = resume_from
        self.best: dict[str, Any] | None = None
        self._last_write = 0

    def resume_training(self, runner: Runner) -> None:
        """Resume from the checkpoint, if any; the runner calls this before it trains.

        Raises:
            ValueError: If the checkpoint does not match the network or the run.
        """
        if self.resume_from is None:
            return
        path, model = self.resume_from, unwrap(runner.model)
        checkpoint = read_checkpoint(path)
        if "optimizer" not in checkpoint:
            fill(model, network_weights(checkpoint, path), path)
            logger.info("initial weights: %s", path)
            return
        epoch, iteration = self._position(runner, checkpoint, path)
        fill(model, checkpoint[WEIGHTS], path)
        if self.average is not None and checkpoint[AVERAGED] is not None:
            self.average.resume(checkpoint[AVERAGED], checkpoint["updates"], model)
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
        if runner.val_loop is None and runner.rank == 0:
            save_atomically(self._network_weights(runner), self.work_dir / BEST)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the weights of the best validation, and record that this one is done.

        Raises:
            ValueError: If the validation has no score ``best_metric``.
        """
        score = _score(metrics or {}, self.best_metric)
        runner.train_loop.validated_epoch = runner.epoch
        is_best = self.best is None or _rank_of(score) > _rank_of(self.best["value"])
        best = " (best so far)" if is_best else ""
        logger.info("epoch %d: %s%s", runner.epoch, _summary(metrics or {}), best)
        if is_best:
            self.best = {
                "metric": self.best_metric,
                "value": None if math.isnan(score) else score,
                "epoch": runner.epoch,
                "iteration": runner.iter,
            }
            if runner.rank == 0:
                save_atomically(self._network_weights(runner), self.work_dir / BEST)
                write_json(self.best, self.work_dir / BEST_MARK)
        self._write(runner, runner.epoch, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Log where the final weights are."""
        which = f" of epoch {self.best['epoch']}" if self.best else ""
        logger.info("training finished; weights%s: %s", which, self.work_dir / BEST)

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
                "the best weights so far, of epoch %d, are missing in the folder of %s: the next "
                "validation counts as the best so far",
                best["epoch"],
                path,
            )
            return None
        if runner.rank == 0 and not is_here:
            for name in (BEST, BEST_MARK):
                write_whole(self.work_dir / name, (path.parent / name).read_bytes())
        return best

    def _network_weights(self, runner: Runner) -> dict[str, Tensor]:
        """Return the weights for inference, on the CPU."""
        model = unwrap(runner.model)
        weights = self.average.weights(model) if self.average else model.state_dict()
        return {name: value.cpu() for name, value in weights.items()}

    def _write(self, runner: Runner, epoch: int, iteration: int) -> None:
        self._last_write = iteration
        if runner.rank != 0:
            return
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
        }
        save_atomically(state, self.work_dir / LATEST)

    def _position(
        self, runner: Runner, checkpoint: Mapping[str, Any], path: Path
    ) -> tuple[int, int]:
        """Return the epoch and iteration to resume at, in terms of this run's epoch length.

        Raises:
            ValueError: If the checkpoint is mid-epoch and the epoch length has changed.
        """
        if checkpoint["seed"] != self.seed:
            logger.warning(
                "%s was trained with --seed %d, but this run has %d: it resumes, but not exactly",
                path,
                checkpoint["seed"],
                self.seed,
            )
        epoch, iteration = checkpoint["epoch"], checkpoint["iteration"]
        before, now = checkpoint["iterations_per_epoch"], len(runner.train_dataloader)
        if before == now:
            return epoch, iteration
        if iteration != epoch * before:
            raise ValueError(
                f"{path} is in the middle of an epoch of {before} iterations, but an epoch now has "
                f"{now}: resume with the same data, batch size and number of processes"
            )
        logger.warning("%s had %d iterations per epoch, this run has %d", path, before, now)
        return epoch, epoch * now


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


def _holds(folder: Path, best: Mapping[str, Any]) -> bool:
    """Return whether a folder has the weights of the validation ``best``."""
    mark = folder / BEST_MARK
    return (folder / BEST).is_file() and mark.is_file() and json.loads(mark.read_text()) == best


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
    return 1.0 if name.startswith("depth_") else 100.0


def _rank_of(score: float | None) -> float:
    """Return a sort key for scores, with undefined ones last."""
    return -math.inf if score is None or math.isnan(score) else score
