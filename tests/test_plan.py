import pytest
import torch

from engine.training.plan import dry_run
from tests.toy_training import ToyNetwork, write_toy_config
from utils.config import load_config
from utils.distributed import Process

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def cfg(tmp_path):
    return load_config(write_toy_config(tmp_path))


def test_the_plan_by_hand(cfg):
    plan = dry_run(cfg, ALONE, seed=0)
    # Convolution 1·4·27 + 4, norm 2·4; head 4·12 + 12.
    assert "ToyNetwork, 180 parameters (body 120, head 60)" in plan
    assert "6 train, 6 val frames" in plan
    assert "4 epochs of 3 iterations" in plan
    assert "learning rate 0.01, 4 frames per update" in plan
    assert "1 process on cpu" in plan


def test_several_processes_share_an_epoch(cfg):
    plan = dry_run(cfg, Process(0, 2, torch.device("cpu")), seed=0)
    assert "4 epochs of 2 iterations" in plan
    assert "8 frames per update" in plan


def test_without_data_the_rest_is_checked(cfg):
    cfg.data_root = "nowhere"
    plan = dry_run(cfg, ALONE, seed=0)
    assert "missing   the data" in plan
    assert "no data set at nowhere" in plan
    cfg.model.dropuot = 0.1
    with pytest.raises(ValueError, match="unknown key 'dropuot'"):
        dry_run(cfg, ALONE, seed=0)


def test_without_pretrained_weights_the_rest_is_checked(cfg, monkeypatch):
    def init_weights(network):
        raise FileNotFoundError(f"no weights of {type(network).__name__} at resnet.pth")

    monkeypatch.setattr(ToyNetwork, "init_weights", init_weights)
    plan = dry_run(cfg, ALONE, seed=0)
    assert "missing   the initial weights: no weights of ToyNetwork" in plan
    assert "6 train, 6 val frames" in plan


def test_a_misspelt_section_is_found_without_training(cfg):
    cfg.runtime.workers = 3
    with pytest.raises(ValueError, match=r"runtime of .*: unknown key 'workers'"):
        dry_run(cfg, ALONE, seed=0)


@pytest.mark.parametrize("name", ["mIoU", "depth_abs_rel", "iou_free", "iou_bus"])
def test_what_no_validation_can_compare_by_is_found_without_training(cfg, name):
    cfg.runtime.best_metric = name
    with pytest.raises(ValueError, match=rf"best_metric must be one of .*, got '{name}'"):
        dry_run(cfg, ALONE, seed=0)
    cfg.runtime.best_metric = "iou_truck"
    assert "4 epochs" in dry_run(cfg, ALONE, seed=0)
    cfg.runtime.best_metric, cfg.schedule.val_interval = name, 0
    assert "4 epochs" in dry_run(cfg, ALONE, seed=0)


def test_a_run_without_validation_needs_no_validation_split(cfg):
    cfg.schedule.val_interval = 0
    assert "0 val" in dry_run(cfg, ALONE, seed=0)
