import math
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import nn

import utils.progress
from engine.progress_hook import memory_gib, train_facts
from utils.progress import Progress, with_progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(utils.progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_few_lines_come(clock, capsys):
    progress = Progress("train", total=1000)
    for _ in range(1000):
        clock[0] += 1.0
        progress.advance(lambda: "loss 1.5")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 50  # one each 2 % of the work
    assert lines[0] == "train 20/1000  loss 1.5  0:16:20 left"


def test_a_quick_run_says_nothing(clock, capsys):
    progress = Progress("score", total=5)
    for _ in range(5):
        clock[0] += 0.5
        progress.advance(lambda: "")
    assert capsys.readouterr().err == ""


def test_time_left_counts_from_where_the_run_went_on(clock, capsys):
    progress = Progress("train", total=100, done=90)
    for _ in range(5):
        clock[0] += 10.0
        progress.advance(lambda: "x")
    # A line each 2 % of the work; six steps of ten seconds are left after four.
    assert capsys.readouterr().err.splitlines()[-1] == "train 94/100  x  0:01:00 left"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("train", total=2)
    progress.advance(lambda: "loss 1.5")
    progress.advance(lambda: "loss 1.4")
    progress.close()
    assert "train" in capsys.readouterr().err


def test_facts_of_training_say_what_it_waits_for_and_what_it_takes():
    values = {"loss": 1.5, "lr": 2e-3, "data_time": 0.25, "time": 1.0}
    scalars = {f"train/{name}": HistoryBuffer([value], [1]) for name, value in values.items()}
    runner = Mock(spec=Runner)
    runner.message_hub = SimpleNamespace(log_scalars=scalars)
    runner.model, runner.epoch = nn.Linear(1, 1), 2
    facts = train_facts(runner)
    assert facts.startswith("epoch 3 loss 1.500 lr 2.0e-03 data 25% memory ")
    assert facts.endswith(" GiB")


def test_memory_is_that_of_this_process():
    used = memory_gib(torch.device("cpu"))
    assert math.isfinite(used)
    assert 0.05 < used < 64


def test_items_come_through_with_a_bar_that_always_ends(monkeypatch):
    bars = []

    class Recording(Progress):
        def __init__(self, *words):
            super().__init__(*words)
            self.said, self.is_closed = [], False
            bars.append(self)

        def advance(self, facts):
            self.said.append(facts())

        def close(self):
            self.is_closed = True

    monkeypatch.setattr(utils.progress, "Progress", Recording)
    assert list(with_progress("ab", "spell", 2, facts=str.upper)) == ["a", "b"]
    broken_off = with_progress("ab", "spell", 2)
    next(broken_off)
    broken_off.close()
    assert [(bar.said, bar.is_closed) for bar in bars] == [(["A", "B"], True), ([], True)]
    assert list(with_progress("ab", "spell", 2, shown=False)) == ["a", "b"]
    assert len(bars) == 2
