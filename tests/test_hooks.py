from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn

from engine.training.hooks import (
    AverageHook,
    LearningRateHook,
    RecentScalarsHook,
    SeedHook,
    learning_rate_share,
    unwrap,
)


def runner_of(network: nn.Module, **values: object) -> Mock:
    wrapper = SimpleNamespace(should_update=lambda: True, param_groups=[{"lr": 0.0}, {"lr": 0.0}])
    defaults = dict(model=network, optim_wrapper=wrapper, iter=0, rank=0, epoch=0, max_iters=10)
    runner = Mock(spec=Runner)
    for name, value in (defaults | values).items():
        setattr(runner, name, value)
    return runner


def test_learning_rate_by_hand():
    shares = [learning_rate_share(i, 10, warmup=2, min_share=0.1) for i in range(10)]
    assert shares[:2] == [0.5, 1.0]
    # The cosine's middle is after 4 of its 8 steps: (1 + 0.1) / 2.
    assert shares[5] == pytest.approx(0.55)
    assert shares[9] == pytest.approx(0.1)
    assert shares[1:] == sorted(shares[1:], reverse=True)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (2, 2)])
def test_learning_rate_of_very_short_runs(total, warmup):
    shares = [learning_rate_share(i, total, warmup=warmup, min_share=0.0) for i in range(total)]
    assert all(0 <= share <= 1 for share in shares)


def test_learning_rate_is_set_in_every_group():
    runner = runner_of(nn.Linear(1, 1), iter=0)
    LearningRateHook(0.2, warmup_share=0.2, min_share=0.0).before_train_iter(runner, 0)
    assert runner.optim_wrapper.param_groups == [{"lr": 0.1}, {"lr": 0.1}]


def test_seeds_depend_on_iteration_process_and_seed_only():
    def draw(seed: int, iteration: int, rank: int) -> float:
        SeedHook(seed).before_train_iter(runner_of(nn.Identity(), iter=iteration, rank=rank), 0)
        return torch.rand(()).item()

    first = draw(0, 0, 0)
    torch.rand(17)
    assert draw(0, 0, 0) == first
    assert len({first, draw(1, 0, 0), draw(0, 1, 0), draw(0, 0, 1)}) == 4


def test_histories_of_scalars_stay_short():
    hub = MessageHub.get_instance("scalars_of_a_test")
    hook, runner = RecentScalarsHook(3), runner_of(nn.Identity(), message_hub=hub)
    for value in range(6):
        hub.update_scalar("train/loss", value)
        hook.after_train_iter(runner, value)
    history = hub.get_scalar("train/loss")
    assert history.data[0].tolist() == [3, 4, 5]
    assert history.mean(2) == 4.5


def averaged(decay: float, values: list[float]) -> tuple[AverageHook, nn.Linear]:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    hook = AverageHook(decay)
    runner = runner_of(network)
    hook.before_train(runner)
    for value in values:
        network.weight.data.fill_(value)
        hook.after_train_iter(runner, 0)
    return hook, network


def test_average_by_hand():
    # Decay 0.1 and 2 / 11 in the first two updates: 0.9, then 2/11 * 0.9 + 9/11 * 3.
    hook, _ = averaged(0.999, [1.0, 3.0])
    assert hook.average["weight"].item() == pytest.approx(2 / 11 * 0.9 + 9 / 11 * 3)
    hook, _ = averaged(0.05, [1.0, 3.0])
    assert hook.average["weight"].item() == pytest.approx(0.05 * 0.95 + 0.95 * 3)
    assert hook.updates == 2


def test_average_waits_for_an_update():
    hook, network = averaged(0.5, [])
    runner = runner_of(network)
    runner.optim_wrapper.should_update = lambda: False
    network.weight.data.fill_(8.0)
    hook.after_train_iter(runner, 0)
    assert hook.average["weight"].item() == 0.0


def test_average_stands_in_for_a_validation_only():
    hook, network = averaged(0.05, [1.0])
    runner = runner_of(network)
    hook.before_val_epoch(runner)
    assert network.weight.item() == pytest.approx(0.95)
    hook.after_val_epoch(runner)
    assert network.weight.item() == 1.0
    assert hook.average["weight"].item() == pytest.approx(0.95)


def test_average_resumes_where_it_was():
    hook, network = averaged(0.5, [1.0, 2.0])
    again = AverageHook(0.5)
    again.resume(hook.weights(network), hook.updates, network)
    again.before_train(runner_of(network))
    for each in (hook, again):
        network.weight.data.fill_(5.0)
        each.after_train_iter(runner_of(network), 0)
    assert torch.equal(hook.average["weight"], again.average["weight"])
    assert (hook.updates, again.updates) == (3, 3)


def test_average_keeps_the_buffers_of_the_network():
    network = nn.BatchNorm1d(1)
    hook = AverageHook(0.5)
    hook.before_train(runner_of(network))
    network(torch.tensor([[1.0], [3.0]]))
    weights = hook.weights(network)
    assert weights["num_batches_tracked"] == 1
    assert weights["running_mean"].item() != 0


def test_frozen_weights_are_not_averaged():
    network = nn.Linear(1, 1)
    network.bias.requires_grad_(False)
    hook = AverageHook(0.5)
    hook.before_train(runner_of(network))
    network.weight.data.fill_(8.0)
    hook.after_train_iter(runner_of(network), 0)
    assert list(hook.average) == ["weight"]
    assert torch.equal(hook.weights(network)["bias"], network.bias)
    before = network.bias.clone()
    hook.before_val_epoch(runner_of(network))
    hook.after_val_epoch(runner_of(network))
    assert torch.equal(network.bias, before)


def test_unwrap_gives_the_network():
    network = nn.Linear(1, 1)
    assert unwrap(network) is network
