import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from engine.build.sampler import EpochBatches
from engine.checkpoint.files import save_atomically
from engine.training.checkpoint_hook import CheckpointHook, restore_optimizer

FACTS = {"format": 1, "config": {}}


class Loader(list):
    """Batches of one of three frames."""

    batch_sampler = EpochBatches(range(3), 1, seed=0)


def hook_of(work_dir: Path, **options: Any) -> CheckpointHook:
    values: dict[str, Any] = {"facts": FACTS, "seed": 0, "best_metric": "miou"}
    return CheckpointHook(work_dir, **values | options)


def runner_of(network: nn.Module, *, epoch: int = 0) -> Mock:
    """A runner with epochs of three iterations, at the end of one."""
    runner = Mock(spec=Runner)
    runner.model, runner.rank = network, 0
    runner.epoch, runner.iter = epoch, 3 * epoch
    runner.optim_wrapper = SimpleNamespace(state_dict=dict, should_update=lambda: True)
    runner.train_loop = SimpleNamespace(validated_epoch=0)
    runner.train_dataloader = Loader(range(3))
    return runner


def validated(hook: CheckpointHook, network: nn.Module, epoch: int, metrics: dict) -> None:
    hook.after_val_epoch(runner_of(network, epoch=epoch), metrics)


def test_the_best_validation_is_kept(tmp_path):
    network = nn.Linear(1, 1, bias=False)
    hook = hook_of(tmp_path)
    for epoch, score in enumerate([math.nan, 0.2, 0.5, 0.4, math.nan], start=1):
        network.weight.data.fill_(float(epoch))
        validated(hook, network, epoch, {"miou": score, "iou": 0.0})
    kept = torch.load(tmp_path / "model_state_dict.pth", weights_only=True)
    assert kept["weights"]["weight"].item() == 3.0
    assert kept["config"] == {}
    assert hook.best == {"metric": "miou", "value": 0.5, "epoch": 3, "iteration": 9}


@pytest.mark.parametrize(("name", "best"), [("depth_abs_rel", 2), ("depth_a1", 3)])
def test_of_depth_errors_the_lowest_is_kept_and_of_shares_the_highest(tmp_path, name, best):
    hook = hook_of(tmp_path, best_metric=name)
    for epoch, score in enumerate([0.3, 0.2, 0.5, math.nan], start=1):
        validated(hook, nn.Linear(1, 1), epoch, {name: score})
    assert hook.best["epoch"] == best


def test_scores_are_said_in_percent_and_depth_errors_in_meters(tmp_path, caplog):
    hook = hook_of(tmp_path)
    with caplog.at_level(logging.INFO, logger="engine"):
        metrics = {"miou": 0.25, "iou_truck": 0.5, "depth_rmse": 4.5, "depth_a1": math.nan}
        validated(hook, nn.Linear(1, 1), 1, metrics)
    assert "epoch 1: miou 25.00, depth_rmse 4.50, depth_a1 - (best" in caplog.text


def test_an_unknown_best_metric_is_rejected(tmp_path):
    hook = hook_of(tmp_path, best_metric="f1")
    with pytest.raises(ValueError, match=r"best_metric is 'f1', but validation gives \['iou'\]"):
        validated(hook, nn.Linear(1, 1), 1, {"iou": 0.1})


@pytest.mark.parametrize(("every", "written"), [(0, []), (1, [1, 2]), (2, [2])])
def test_mid_epoch_writes_leave_the_end_of_the_epoch_to_itself(tmp_path, every, written):
    hook = hook_of(tmp_path, every_iters=every)
    runner = runner_of(nn.Linear(1, 1))
    found = []
    for index in range(3):
        runner.iter = index
        hook.after_train_iter(runner, index)
        if (tmp_path / "latest.pth").exists():
            state = torch.load(tmp_path / "latest.pth", weights_only=True)
            found.append(state["iteration"])
            (tmp_path / "latest.pth").unlink()
    assert found == written


def test_only_the_first_process_writes(tmp_path):
    runner = runner_of(nn.Linear(1, 1), epoch=1)
    runner.rank = 1
    hook = hook_of(tmp_path)
    hook.after_train_epoch(runner)
    hook.after_val_epoch(runner, {"miou": 0.5})
    assert not list(tmp_path.iterdir())
    assert hook.best is not None


def test_a_checkpoint_of_another_network_is_rejected(tmp_path):
    path: Path = tmp_path / "model_state_dict.pth"
    save_atomically(nn.Linear(1, 2).state_dict(), path)
    hook = hook_of(tmp_path, resume_from=path)
    with pytest.raises(ValueError, match="does not match the network"):
        hook.resume_training(runner_of(nn.Linear(1, 1)))


def test_the_weight_decay_is_that_of_the_config_and_the_moments_those_of_the_run():
    def optimizer(decay: float) -> OptimWrapper:
        layer = nn.Linear(1, 1)
        groups = [dict(params=[layer.weight], weight_decay=decay), dict(params=[layer.bias])]
        return OptimWrapper(torch.optim.AdamW(groups, lr=1.0, weight_decay=0.0))

    before, after = optimizer(0.01), optimizer(0.5)
    for group in before.param_groups:
        group["params"][0].grad = torch.ones_like(group["params"][0])
    before.step()
    restore_optimizer(after, before.state_dict())
    groups = after.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert after.state_dict()["state"][0]["step"] == 1


@pytest.mark.parametrize(("scaler", "passed_on"), [({}, {}), ({"scale": 8.0}, {"scale": 8.0})])
def test_a_run_in_bfloat16_resumes_in_float16(scaler, passed_on):
    given = {}
    wrapper = SimpleNamespace(param_groups=[], load_state_dict=given.update)
    restore_optimizer(wrapper, {"state": {}, "param_groups": [], "loss_scaler": scaler})
    assert given.get("loss_scaler", {}) == passed_on
    assert ("loss_scaler" in given) == bool(scaler)


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    network = nn.Linear(1, 1)
    hook, runner = hook_of(tmp_path), runner_of(network, epoch=1)
    runner.val_loop = None
    hook.after_train_epoch(runner)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name for path in files} == {"latest.pth", "model_state_dict.pth"}
    network.bias.data.fill_(torch.nan)
    message = (
        r"diverged before iteration 3: weights\.bias has 1 NaN or .*latest\.pth is not written"
    )
    for rank in (0, 1):  # All processes stop.
        runner.rank = rank
        with pytest.raises(FloatingPointError, match=message):
            hook.after_train_epoch(runner)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_damaged_mark_of_the_best_weights_is_named(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/model_state_dict.pth").touch()
    mark = tmp_path / "a/best.json"
    mark.touch()
    best = {"metric": "miou", "value": 0.5, "epoch": 3, "iteration": 9}
    hook = hook_of(tmp_path / "b")
    runner = runner_of(nn.Linear(1, 1))
    assert hook._best_to_beat(runner, best, tmp_path / "a/latest.pth") is None
    assert f"{mark} is not valid JSON and is ignored: Expecting value" in caplog.text
    assert "the next validation counts as the best so far" in caplog.text
