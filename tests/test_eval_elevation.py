import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import eval_elevation
from dataset.sample import Loss, Sample
from engine.build.build import build_model
from engine.evaluation.elevation_frames import (
    baseline_mapper,
    label_grid,
    network_mapper,
    read_frames,
)
from tests.layout_files import GROUND_Z_M, write_tiny_unscenes3d
from utils.config import load_config

CONFIG = Path(__file__).parents[1] / "config" / "minesim" / "minesim_elevation.py"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Two frames of train, of val and of test."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root, imagesets=("scene_info", "lists"), sweeps=0)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    cfg = load_config(CONFIG, {"modality": "lidar"})
    torch.save(build_model(cfg).state_dict(), folder / "model_state_dict.pth")
    return folder


def run(data_root, words):
    words = f"--py-config {CONFIG} --device cpu {words} --cfg-options data_root={data_root}"
    eval_elevation.main(eval_elevation.parse_arguments([*words.split(), "modality=lidar"]))


def test_a_network_is_scored_and_drawn(data_root, weights, tmp_path, capsys, caplog, monkeypatch):
    lost = (Loss.NO_POINTS,)
    monkeypatch.setattr("dataset.lost_sensors.losses_of", lambda sample, fields: lost)
    out, pictures = tmp_path / "scores.json", tmp_path / "pictures"
    run(data_root, f"--work-dir {weights} --json {out} --pictures {pictures} --num-pictures 1")
    scores = json.loads(out.read_text())
    assert (scores["method"], scores["split"], scores["frames"]) == ("network", "val", 2)
    assert scores["mae_cm"] >= 0
    assert "MAE cm" in capsys.readouterr().out
    assert caplog.text.count("2 of 2 frames: the point cloud has no points in range") == 1
    (picture,) = pictures.iterdir()
    assert cv2.imread(str(picture)).shape[1] > 1000


def test_figures_do_not_replace_labels(data_root):
    with pytest.raises(ValueError, match="elevation holds input, which the results would replace"):
        run(data_root, f"--baseline mean --pictures {data_root / 'elevation'}")


def test_the_baselines_are_scored_by_the_same_code(data_root, tmp_path):
    for name in ("mean", "lidar"):
        run(data_root, f"--baseline {name} --split test --json {tmp_path / name}")
    mean, lidar = (json.loads((tmp_path / name).read_text()) for name in ("mean", "lidar"))
    # The ground is flat and the same everywhere; labels are cut to 1/256 m.
    assert mean["mae_cm"] < 0.4
    assert lidar["within_10_cm"] > 0.5  # Its returns are few, and some hit wall and truck.
    assert mean["frames"] == lidar["frames"] == 2


def test_a_baseline_reads_only_what_it_needs(data_root):
    cfg = load_config(CONFIG, {"data_root": str(data_root)})
    sample = read_frames(cfg, "val", "mean")[0]
    assert (sample.points, sample.images) == (None, None)
    assert read_frames(cfg, "val", "lidar")[0].points is not None
    sample = read_frames(cfg, "val", None)[0]
    assert sample.images is not None
    assert sample.occupancy is None


def test_the_mean_is_that_of_the_training_set(data_root):
    cfg = load_config(CONFIG, {"data_root": str(data_root)})
    mean = baseline_mapper(cfg, "mean")(read_frames(cfg, "val", "mean")[0])
    np.testing.assert_allclose(mean, GROUND_Z_M, atol=1 / 256)


def test_a_label_of_other_cells_gets_a_map_of_its_own(data_root):
    cfg = load_config(CONFIG, {"data_root": str(data_root), "modality": "lidar"})
    sample = read_frames(cfg, "val", "lidar")[0]
    sample.elevation_m = torch.zeros(51, 54)
    for mapper in (network_mapper(build_model(cfg)), baseline_mapper(cfg, "lidar")):
        with torch.no_grad():
            assert mapper(sample).shape == (51, 54)


def test_weights_or_a_baseline_are_needed(data_root):
    with pytest.raises(ValueError, match="no weights given"):
        run(data_root, "")


def test_a_network_without_the_head_is_rejected(data_root):
    cfg = load_config(CONFIG, {"model.parts.elevation": None, "modality": "lidar"})
    with pytest.raises(ValueError, match="the config's network has no elevation head"):
        network_mapper(build_model(cfg))


def test_unknown_baselines_and_frames_without_labels_are_rejected(data_root):
    cfg = load_config(CONFIG, {"data_root": str(data_root)})
    with pytest.raises(ValueError, match=r"must be one of \['lidar', 'mean'\], got 'median'"):
        baseline_mapper(cfg, "median")
    with pytest.raises(ValueError, match=r"frame 1\.5 was read without its elevation"):
        label_grid(Sample(stem="1.5"))
    lidar = baseline_mapper(cfg, "lidar")
    away = Sample(stem="1.5", points=torch.zeros(3, 4), elevation_m=torch.zeros(204, 217))
    with pytest.raises(ValueError, match=r"frame 1\.5: no LiDAR point"):
        lidar(away)
