"""The weights that the repository contains: they load, predict, and say what they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_iou
import predict
from engine.build.build import build_dataset, build_model
from engine.checkpoint.origin import describe_training, differences, trained_config
from engine.checkpoint.weights import read_weights
from engine.experiments import zoo
from engine.experiments.zoo import ABOUT, zoo_section
from model.weight_files import save_safetensors
from tests.predict_config import write_config
from tests.recording_files import json_rig, write_json_rig, write_recording
from tests.trained import save_trained
from tools import export_weights, make_minesim
from utils.config import load_config, plain

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "assets/checkpoints").glob("*.safetensors"))


def run(path, folder, out):
    words = (
        f"--resume-from {path} --out {out} --format npy --limit 1 --images {folder}/images "
        f"--clouds {folder}/clouds --calib {folder}/calib.json"
    )
    predict.main(predict.parse_arguments(words.split()))
    return [np.load(file) for file in sorted(out.glob("*.npy"))]


def test_there_are_weights():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_predict_a_recording(path, tmp_path):
    write_recording(tmp_path)
    write_json_rig(tmp_path / "calib.json", json_rig())
    grids = run(path, tmp_path, tmp_path / "out")
    assert grids
    for grid in grids:
        assert 0.001 < (grid > 0).mean() < 0.5


def test_the_demo_weights_score_on_the_simulator_as_ever(tmp_path):
    """A change here means that tables of scores are stale: of the data, labels or network."""
    scene = "--scenes 2 --frames 1 --val 1 --test 0 --seed 100 --no-sweeps --image-size 480x300 "
    words = f"{scene} --map-voxel 0.2 --ground-cell 0.6 --workers 1 --out {tmp_path}"
    make_minesim.main(make_minesim.parse_arguments(words.split()))
    weights = ROOT / "assets/checkpoints/minesim_demo.safetensors"
    words = f"--resume-from {weights} --data-root {tmp_path} --work-dir {tmp_path}/work"
    scores = tmp_path / "scores.json"
    eval_iou.main(eval_iou.parse_arguments([*words.split(), "--json", str(scores)]))
    cfg = trained_config(read_weights(weights), None, {"data_root": str(tmp_path)})
    labels = build_dataset(cfg, "val", fields=("occupancy",))[0].occupancy
    counts = dict(zip(*(part.tolist() for part in labels.unique(return_counts=True)), strict=True))
    assert counts == {0: 30072, 1: 28, 7: 1, 8: 21, 10: 1078, 11: 1568}
    found = json.loads(scores.read_text())
    assert (found["iou"], found["miou"]) == pytest.approx((0.923, 0.273), abs=0.01)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_fit_their_config(path):
    weights = read_weights(path)
    floats = [value for value in weights.tensors.values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float16}
    assert set(ABOUT) <= weights.facts["about"].keys()
    now = plain(load_config(ROOT / weights.facts["about"]["config"]).to_dict())
    for section in ("labels", "grid", "modality", "dataset"):
        assert not differences({"": now[section]}, {"": weights.facts["config"][section]})


def test_the_small_network_fits_beside_them(tmp_path):
    cfg = load_config(ROOT / "config/minesim/minesim_small.py")
    path = tmp_path / "minesim_small.safetensors"
    weights = export_weights.halved(build_model(cfg).state_dict())
    save_safetensors(weights, describe_training(cfg), path)
    others = sum(file.stat().st_size for file in SHIPPED if file.name != path.name)
    assert path.stat().st_size + others <= zoo.MAX_MIB * 2**20


def test_a_table_lists_them():
    table = zoo_section(ROOT / "assets/checkpoints")
    scores = read_weights(SHIPPED[0]).facts["scores"]
    row = table.splitlines()[2]
    assert SHIPPED[0].name in row
    assert f"| {100 * scores['miou']:.2f} | {100 * scores['long_tail_miou']:.2f} |" in row


def test_weights_must_say_what_they_are(tmp_path, monkeypatch):
    cfg = load_config(write_config(tmp_path), {"dataset.image_size": (20, 40)})
    path = save_trained(cfg, tmp_path / "w.pth")
    (tmp_path / "scores.json").write_text('{"miou": 0.5, "long_tail_miou": 0.25, "frames": 3}')
    words = [str(path), "--out", str(tmp_path / "w.safetensors"), "--half"]

    def export(*more):
        export_weights.main(export_weights.parse_arguments([*words, *more]))

    export("--about", "data=mine")
    message = r"w\.safetensors lacks \['config', 'training', 'license', 'miou', 'long_tail_miou'\]"
    with pytest.raises(ValueError, match=message):
        zoo_section(tmp_path)
    about = ("data=mine", "config=c.py", "training=by hand", "license=MIT", "latency=9 ms")
    export("--scores", str(tmp_path / "scores.json"), "--about", *about)
    row = zoo_section(tmp_path).splitlines()[2]
    assert "| `c.py` | camera, LiDAR; 20×40, 32×32×4 voxels | mine, 3 frames; by hand |" in row
    assert row.endswith("| 50.00 | 25.00 | 9 ms |")
    monkeypatch.setattr(zoo, "MAX_MIB", 0.0001)
    with pytest.raises(ValueError, match=r"MiB of weights, at most 0\.0001 are allowed"):
        zoo_section(tmp_path)
