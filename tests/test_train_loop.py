from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from engine.build.sampler import EpochBatches
from engine.evaluation.loop import EvalLoop
from engine.training.loop import TrainLoop


class Numbers:
    """A data set of which a frame is its own number."""

    def __len__(self):
        return 5

    def __getitem__(self, draw):
        return draw.index


def loop_of(epochs: int, val_interval: int) -> tuple[TrainLoop, list]:
    """A training loop that notes what it does instead of doing it."""
    events: list = []
    runner = Mock(spec=Runner)
    runner.model = nn.Identity()
    runner.model.train_step = lambda batch, optim_wrapper: events.append(batch)
    runner.optim_wrapper = Mock()
    runner.call_hook = lambda name, **_: None
    runner.val_loop = SimpleNamespace(run=lambda: events.append("validate"))
    loader = DataLoader(
        Numbers(), batch_sampler=EpochBatches(range(5), 2, seed=0), collate_fn=tuple
    )
    return TrainLoop(runner, loader, epochs, val_interval), events


def test_epochs_and_validations_in_turn():
    loop, events = loop_of(3, 2)
    loop.run()
    kinds = ["validate" if event == "validate" else len(event) for event in events]
    assert kinds == [2, 2, 1, 2, 2, 1, "validate", 2, 2, 1, "validate"]
    assert (loop.epoch, loop.iter, loop.max_iters) == (3, 9, 9)


def test_no_validation_when_not_asked_for():
    loop, events = loop_of(2, 0)
    loop.run()
    assert "validate" not in events


@pytest.mark.parametrize("iteration", [1, 2, 4])
def test_resumes_in_mid_epoch_with_the_frames_that_are_left(iteration):
    whole, events = loop_of(2, 0)
    whole.run()
    rest, later = loop_of(2, 0)
    rest.start_at(iteration // 3, iteration, 0)
    rest.run()
    assert later == events[iteration:]


def test_an_interrupted_validation_is_made_up_for():
    loop, events = loop_of(2, 1)
    loop.start_at(1, 3, 0)
    loop.run()
    assert events[0] == "validate"
    done, events = loop_of(2, 1)
    done.start_at(1, 3, 1)
    done.run()
    assert events[0] != "validate"


def test_only_the_time_of_the_loader_is_waiting(monkeypatch):
    now, waits = [0.0], []
    monkeypatch.setattr("engine.training.loop.time.perf_counter", lambda: now[0])

    def read(frames, index):
        now[0] += 1.0
        return index

    monkeypatch.setattr(Numbers, "__getitem__", read)
    loop, _ = loop_of(1, 0)

    def call_hook(name, **_):
        now[0] += 10.0
        if name == "before_train_iter":
            waits.append(loop.waited_s)

    loop.runner.call_hook = call_hook
    loop.run()
    assert waits == [2, 2, 1]  # Batches of two frames and of one.


def test_each_epoch_counts_its_own_accumulation():
    loop, _ = loop_of(2, 0)
    loop.start_at(0, 1, 0)
    loop.run()
    calls = loop.runner.optim_wrapper.initialize_count_status.call_args_list
    assert [call.args[1:] for call in calls] == [(1, 3), (0, 3)]


def test_scoring_needs_no_gradients_and_uses_the_precision():
    seen = []
    runner = Mock(spec=Runner)
    runner.call_hook = lambda name, **_: None
    runner.model = nn.Linear(2, 1)

    def predict(batch):
        value = runner.model(torch.zeros(1, 2))
        seen.append((runner.model.training, value.requires_grad, value.dtype))
        return [batch]

    runner.model.val_step = predict
    evaluator = Mock(spec=Evaluator)
    evaluator.evaluate.return_value = {"miou": 0.5}
    loader = DataLoader([1, 2, 3], batch_size=2)
    assert EvalLoop(runner, loader, evaluator).run() == {"miou": 0.5}
    assert EvalLoop(runner, loader, evaluator, torch.bfloat16).run() == {"miou": 0.5}
    evaluator.evaluate.assert_called_with(3)
    dtypes = [torch.float32] * 2 + [torch.bfloat16] * 2
    assert seen == [(False, False, dtype) for dtype in dtypes]
