"""Where a training resumes: the epoch, and the iteration in it.

A position within an epoch is a number of frames in its order, which is the same for any number of
processes. With as many frames per update as before, a run on another number of processes trains on
the same frames in the same updates.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

ORDER = ("frames", "seed")
"""What decides the order of the frames of an epoch."""


def resume_position(
    checkpoint: Mapping[str, Any],
    layout: Mapping[str, int],
    iterations: int,
    *,
    accumulation: int,
    path: Path,
) -> tuple[int, int]:
    """Return the epoch and the iteration to resume at, and log what differs from before.

    Args:
        checkpoint: The training state.
        layout: ``EpochBatches.layout`` of this run.
        iterations: Iterations per epoch of this run.
        accumulation: Iterations per update of this run.
        path: File of the checkpoint.

    Raises:
        ValueError: If the checkpoint is mid-epoch, and this run would skip or repeat frames.
    """
    epoch, before = checkpoint["epoch"], checkpoint["iterations_per_epoch"]
    done = checkpoint["iteration"] - epoch * before
    old = {"seed": checkpoint["seed"]} | checkpoint.get("layout", {})
    changes = [f"{key} {layout[key]} instead of {old[key]}" for key in ORDER if key in old
               and layout[key] != old[key]]  # fmt: skip
    if "frames" not in old and iterations != before:  # Of version 0.1.0.
        changes.append(f"iterations per epoch {iterations} instead of {before}")
    if changes and done:
        raise ValueError(
            f"{path} is in the middle of an epoch, of which this run would skip or repeat frames "
            f"({', '.join(changes)}): resume with the same data and seed"
        )
    if changes:
        logger.warning("%s resumes, but not exactly: %s", path, ", ".join(changes))
    if "frames" not in old:
        return epoch, epoch * iterations + done
    frames, step = done * _step(old), _step(layout)
    if frames % (step * accumulation):
        raise ValueError(
            f"{path} is in the middle of an epoch, after {frames} of {old['frames']} frames, which "
            f"are no whole number of {_updates(layout, accumulation)}: choose schedule.batch_size "
            "and schedule.gradient_accumulation that fit, such as for as many frames per update "
            "as before"
        )
    _compare_updates(checkpoint, old, layout, accumulation, path)
    return epoch, epoch * iterations + frames // step


def _compare_updates(
    checkpoint: Mapping[str, Any],
    old: Mapping[str, int],
    new: Mapping[str, int],
    accumulation: int,
    path: Path,
) -> None:
    """Log how the updates of the weights differ from before."""
    if "config" not in checkpoint:
        return
    accumulated = checkpoint["config"]["schedule"]["gradient_accumulation"]
    before, now = _updates(old, accumulated), _updates(new, accumulation)
    if _step(old) * accumulated != _step(new) * accumulation:
        logger.warning(
            "%s resumes with %s instead of %s, with the learning rate of the config", path, now,
            before,
        )  # fmt: skip
    elif before != now:
        logger.info(
            "resuming with %s instead of %s: the same frames, but other random numbers in the "
            "network",
            now,
            before,
        )


def _step(layout: Mapping[str, int]) -> int:
    """Return the frames per iteration of all processes."""
    return layout["batch size"] * layout["processes"]


def _updates(layout: Mapping[str, int], accumulation: int) -> str:
    """Describe the frames per update."""
    return (
        f"updates of {_step(layout) * accumulation} frames (processes × batch size × accumulation: "
        f"{layout['processes']} × {layout['batch size']} × {accumulation})"
    )
