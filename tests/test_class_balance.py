from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.statistics import PUBLISHED_SHARES, Statistics
from engine.build import class_balance
from engine.build.build import balance_classes, build_model
from engine.build.class_balance import class_counts, class_weights, counted_keys
from engine.training.plan import dry_run
from tests.layout_files import write_tiny_unscenes3d
from utils.config import load_config
from utils.distributed import Process
from utils.labels import UNSCENES3D

CONFIG = Path(__file__).parents[1] / "config"
BOTH = {"model.loss.class_counts": "from_data", "model.loss.class_weights": "from_data"}


def statistics(counts, frames=1):
    voxels = np.zeros((12, 9), np.int64)
    for name, count in counts.items():
        voxels[UNSCENES3D.index(name), 0] = count
    return Statistics(frames, voxels, np.ones(12, np.int64), np.zeros((12, 9), np.int64))


def demo(root, **options):
    named = {"data_root": str(root), "modality": "lidar"} | options
    return load_config(CONFIG / "minesim/minesim_occ.py", named)


@pytest.fixture
def data(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=("lists",), frames=2, sweeps=0)
    return tmp_path


def test_published_shares_give_the_numbers_of_the_configs():
    frame = {name: round(share * 68e6) for name, share in PUBLISHED_SHARES.items()}
    loss = load_config(CONFIG / "unscenes3d/unscenes3d_occ.py").model.loss
    assert class_weights(statistics(frame)) == list(loss.class_weights)
    counts = class_counts(statistics(frame, frames=1000))
    np.testing.assert_allclose(counts, loss.class_counts, atol=1)


def test_counts_of_a_frame_by_hand():
    counts = class_counts(statistics({"terrain": 1001, "truck": 30, "car": 1}, frames=20))
    assert counts == [0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 50, 0]


def test_a_training_takes_the_numbers_of_its_own_labels(data):
    cfg = balance_classes(demo(data, **BOTH))
    rows = [np.load(data / f"occ/{stem}.npy") for stem in stems(data)]
    counted = np.bincount(np.concatenate(rows)[:, 3], minlength=12)[1:]
    expected = [max(1, round(count / 2)) if count else 0 for count in counted.tolist()]
    assert list(cfg.model.loss.class_counts) == [0, *expected]
    assert cfg.model.loss.class_weights[2] != 3.3
    weights = build_model(cfg).class_weights
    torch.testing.assert_close(weights, torch.tensor(cfg.model.loss.class_weights))


def test_the_counts_are_kept_for_the_next_time(data, monkeypatch):
    first = balance_classes(demo(data, **BOTH)).model.loss
    monkeypatch.setattr(
        "dataset.statistics.map_in_processes", lambda *_, **__: pytest.fail("counted again")
    )
    assert balance_classes(demo(data, **BOTH)).model.loss.class_counts == first.class_counts


def test_numbers_in_a_config_stay_and_no_data_is_read():
    cfg = demo("nowhere")
    assert balance_classes(cfg) is cfg
    one = balance_classes(demo("nowhere", **{"model.loss.class_counts": None}))
    assert one.model.loss.class_counts is None


def test_without_data_training_stops_and_a_network_alone_does_not():
    cfg = demo("nowhere", **BOTH)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        balance_classes(cfg)
    assert (build_model(cfg).class_weights == 1).all()
    assert cfg.model.loss.class_weights == "from_data"


def test_a_dry_run_counts_nothing(data):
    for root in (data, "nowhere"):
        plan = dry_run(demo(root, **BOTH), Process(0, 1, torch.device("cpu")), seed=0)
        assert "class_counts and class_weights from label counts, computed before training" in plan
    assert not (data / "statistics").exists()


def test_the_first_of_several_processes_counts_for_all(data, monkeypatch):
    sent = []

    def broadcast(found):
        sent.append(list(found))
        found[:] = [{"model.loss.class_counts": [7] * 12}]

    monkeypatch.setattr(class_balance, "broadcast_object_list", broadcast)
    options = {"model.loss.class_counts": "from_data"}
    for rank in (1, 0):
        monkeypatch.setattr(class_balance, "get_rank", lambda rank=rank: rank)
        root = data if rank == 0 else "nowhere"
        assert balance_classes(demo(root, **options)).model.loss.class_counts == [7] * 12
    assert sent[0] == [None]
    assert len(sent[1][0]["model.loss.class_counts"]) == 12


@pytest.mark.parametrize(
    ("config", "text", "message"),
    [
        ("minesim/minesim_occ.py", "form_data", "None or 'from_data', got 'form_data'"),
        ("nuscenes/nuscenes_occ.py", "from_data", "labels of NuScenes cannot be counted"),
    ],
)
def test_another_text_and_other_labels_are_rejected(config, text, message):
    cfg = load_config(CONFIG / config, {"model.loss.class_counts": text})
    with pytest.raises(ValueError, match=message):
        counted_keys(cfg)
    with pytest.raises(ValueError, match=message):
        build_model(cfg)


def stems(data):
    return (data / "imagesets/train.txt").read_text().split()
