import errno
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from engine.runner import Trainer
from engine.training.checkpoint_hook import CheckpointHook
from engine.training.hooks import AverageHook
from engine.training.images_hook import ImagesHook
from engine.training.trainer import build_trainer, find_checkpoint
from tests.toy_training import ToyNetwork, write_toy_config
from utils.config import load_config
from utils.distributed import Process

ALONE = Process(0, 1, torch.device("cpu"))


def test_latest_is_where_a_run_resumes(tmp_path, caplog):
    other = tmp_path / "other.pth"
    assert find_checkpoint(tmp_path, None) is None
    assert find_checkpoint(tmp_path, other) == other
    latest = tmp_path / "latest.pth"
    latest.symlink_to(tmp_path / "not mounted.pth")
    assert find_checkpoint(tmp_path, None) == latest
    latest.unlink()
    latest.touch()
    assert find_checkpoint(tmp_path, None) == latest
    assert find_checkpoint(tmp_path, latest) == latest
    assert not caplog.text
    assert find_checkpoint(tmp_path, other) == other
    assert "it will be overwritten" in caplog.text


def hooks_of(tmp_path: Path, options: dict | None = None, **arguments: object) -> list:
    cfg = load_config(write_toy_config(tmp_path), options)
    return build_trainer(cfg, tmp_path / "out", ALONE, seed=0, **arguments).hooks


def test_the_average_is_made_before_the_checkpoint_is_written(tmp_path):
    kinds = [type(hook) for hook in hooks_of(tmp_path)]
    assert kinds.index(AverageHook) < kinds.index(CheckpointHook)
    off = hooks_of(tmp_path, {"schedule.ema_decay": 0.0})
    assert AverageHook not in [type(hook) for hook in off]


def test_writes_in_mid_epoch_only_if_asked(tmp_path):
    def every(**arguments: object) -> list[int]:
        hooks = hooks_of(tmp_path, **arguments)
        return [hook.every_iters for hook in hooks if isinstance(hook, CheckpointHook)]

    assert every() == [0]
    assert every(iter_resume=True) == [200]


def test_images_are_drawn_for_tensorboard_at_validations(tmp_path):
    def draws(**options: object) -> bool:
        values = {f"{key.replace('__', '.')}": value for key, value in options.items()}
        return ImagesHook in [type(hook) for hook in hooks_of(tmp_path, values)]

    assert draws(runtime__tensorboard=True)
    assert not draws(runtime__tensorboard=False)
    assert not draws(runtime__tensorboard=True, schedule__val_interval=0)


def test_resuming_reads_no_pretrained_weights(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(ToyNetwork, "init_weights", lambda network: read.append("weights"))
    cfg = load_config(write_toy_config(tmp_path), {"schedule.epochs": 1})
    first = build_trainer(cfg, tmp_path / "first", ALONE, seed=0)
    first.train()
    assert read == ["weights"]
    latest = tmp_path / "first/latest.pth"
    build_trainer(cfg, tmp_path / "second", ALONE, seed=0, resume_from=latest).train()
    assert read == ["weights"]


@pytest.mark.parametrize("step", ["train", "val"])
def test_a_full_disk_is_named_with_the_work_directory(monkeypatch, step):
    def fail(runner):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Runner, step, fail)
    trainer = object.__new__(Trainer)
    trainer._work_dir = "out/run"
    with pytest.raises(OSError, match="No space left on device: 'out/run'"):
        getattr(trainer, step)()
