import logging
from itertools import chain
from pathlib import Path

import pytest

from engine.build.sampler import EpochBatches
from engine.training.position import resume_position

FRAMES = 18
PATH = Path("latest.pth")


def shares(processes: int, batch_size: int, epoch: int = 0, batch: int = 0) -> list[EpochBatches]:
    options = [dict(rank=rank, world_size=processes) for rank in range(processes)]
    found = [EpochBatches(range(FRAMES), batch_size, seed=7, **values) for values in options]
    for share in found:
        share.start_at(epoch, batch)
    return found


def updates_of(batches: list[EpochBatches], accumulation: int) -> list[list[int]]:
    """Frames of each update of all processes, sorted."""
    steps = [list(chain.from_iterable(step)) for step in zip(*batches, strict=True)]
    groups = [steps[at : at + accumulation] for at in range(0, len(steps), accumulation)]
    return [sorted(key.index for step in group for key in step) for group in groups]


def state(processes: int, batch_size: int, accumulation: int, iteration: int) -> dict:
    (first, *_) = shares(processes, batch_size)
    return {
        "epoch": 1,
        "iteration": len(first) + iteration,
        "iterations_per_epoch": len(first),
        "seed": 7,
        "layout": first.layout(),
        "config": {"schedule": {"gradient_accumulation": accumulation}},
    }


def resumed(checkpoint: dict, processes: int, batch_size: int, accumulation: int) -> tuple:
    (first, *_) = shares(processes, batch_size)
    return resume_position(
        checkpoint, first.layout(), len(first), accumulation=accumulation, path=PATH
    )


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((1, 4, 1), (2, 2, 1)),
        ((2, 2, 1), (1, 4, 1)),
        ((2, 2, 1), (4, 1, 1)),
        ((2, 2, 1), (1, 2, 2)),
        ((1, 1, 4), (2, 1, 2)),
        ((2, 1, 2), (1, 4, 1)),
    ],
)
def test_as_many_frames_per_update_are_the_same_frames(before, now, caplog):
    processes, batch_size, accumulation = before
    with caplog.at_level(logging.INFO, logger="engine"):
        epoch, iteration = resumed(state(*before, iteration=2 * accumulation), *now)
    rest = updates_of(shares(processes, batch_size, 1), accumulation)[2:]
    (first, *_) = shares(*now[:2])
    again = updates_of(shares(*now[:2], epoch, iteration - len(first)), now[2])
    assert again[:-1] == rest[:-1]
    assert set(again[-1]) >= set(rest[-1]) or set(again[-1]) <= set(rest[-1])  # Padded alike.
    assert "the same frames, but other random numbers" in caplog.text


def test_resuming_alike_says_nothing(caplog):
    assert resumed(state(2, 2, 2, iteration=2), 2, 2, 2) == (1, 7)
    assert not caplog.text


def test_other_updates_are_warned_of_and_continue_after_the_same_frames(caplog):
    assert resumed(state(1, 2, 1, iteration=4), 2, 2, 1) == (1, 5 + 2)
    assert "updates of 4 frames (processes × batch size × accumulation: 2 × 2 × 1) inst" in (
        caplog.text
    )


def test_updates_that_would_repeat_frames_are_rejected():
    with pytest.raises(ValueError, match="after 6 of 18 frames, which are no whole number of upd"):
        resumed(state(1, 2, 1, iteration=3), 2, 2, 1)


def test_other_frames_are_rejected_mid_epoch_and_warned_of_after_it(caplog):
    before = state(1, 2, 1, iteration=3)
    with pytest.raises(ValueError, match=r"skip or repeat frames \(seed 7 instead of 8\): resume"):
        resumed(before | {"seed": 8, "layout": before["layout"] | {"seed": 8}}, 1, 2, 1)
    at_end = before | {"epoch": 1, "iteration": 9, "seed": 8, "layout": {}}
    assert resumed(at_end, 1, 2, 1) == (1, 9)
    assert "resumes, but not exactly: seed 7 instead of 8" in caplog.text


def test_a_checkpoint_without_a_layout_resumes_in_epochs_of_the_same_length():
    before = state(1, 2, 1, iteration=3) | {"layout": {}}
    assert resumed(before, 1, 2, 1) == (1, 12)
    with pytest.raises(ValueError, match="iterations per epoch 5 instead of 9"):
        resumed(before, 2, 2, 1)
