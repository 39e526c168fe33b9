"""The command lines of novel-view depth, from training to the table, on both data sets."""

import json
import logging
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

import eval_novel_depth
import train
from dataset.nuscenes.index import CAMERAS
from tests.layout_files import write_tiny_unscenes3d
from tests.novel_depth_config import write_config
from tests.nuscenes_files import write_tiny_nuscenes
from utils.config import load_config, plain

CONFIG = Path(__file__).parents[1] / "config"
SEED_TRAIN = (
    "python train.py --py-config config/nuscenes/nuscenes_novel_depth.py"
    " --work-dir out/nuscenes/novel_depth_train --depth-metric"
)
SEED_EVAL = (
    "python eval_novel_depth.py --py-config config/nuscenes/nuscenes_novel_depth.py"
    " --work-dir out/nuscenes/novel_depth"
    " --resume-from out/nuscenes/novel_depth/model_state_dict.pth"
)
DOCUMENTED = shlex.split(SEED_EVAL)[2:]
ERRORS = {"abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3"}


@pytest.fixture(scope="module")
def logged():
    """Losses and scores of the trainings below, as their curves have them."""
    return {}


def train_by(words, out):
    """Train, and give what the curves say in the end."""
    train.main(train.parse_arguments(shlex.split(words)))
    (curves,) = out.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    return {name: value for line in lines for name, value in line.items()}


@pytest.fixture(scope="module")
def unscenes3d(tmp_path_factory, logged):
    folder = tmp_path_factory.mktemp("unscenes3d")
    write_tiny_unscenes3d(folder)
    config, out = write_config(folder, "unscenes3d", folder), folder / "out"
    words = f"--py-config {config} --work-dir {out} --depth-metric"
    logged["unscenes3d"] = train_by(words, out)
    return config, out


@pytest.fixture(scope="module")
def nuscenes(tmp_path_factory, logged):
    """Trained by the seed's command."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_nuscenes(folder / "data/nuscenes", samples=2)
    config = folder / DOCUMENTED[1]
    config.parent.mkdir(parents=True)
    write_config(folder, "nuscenes", folder / "data/nuscenes").rename(config)
    out = folder / "out/nuscenes/novel_depth_train"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        logged["nuscenes"] = train_by(SEED_TRAIN.removeprefix("python train.py "), out)
    return config, out


def run(trained, words=""):
    config, out = trained
    small = "" if "--num-rays" in words else "--num-rays 8 16"
    arguments = f"--py-config {config} --work-dir {out} {small} {words}".split()
    eval_novel_depth.main(eval_novel_depth.parse_arguments(arguments))


def test_documented_command_parses():
    args = eval_novel_depth.parse_arguments(DOCUMENTED)
    assert args.py_config == "config/nuscenes/nuscenes_novel_depth.py"
    assert args.resume_from == Path("out/nuscenes/novel_depth/model_state_dict.pth")
    assert (args.depth_tgt, args.batch, args.num_rays) == ("raw", 0, (96, 200))
    assert (args.render, args.min_depth, args.max_depth) == ("volume", 0.1, 80.0)


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
def test_training_learns_from_novel_views_and_validates_depth(data, request, logged):
    request.getfixturevalue(data)
    assert logged[data]["loss_novel_depth"] > 0
    assert {f"depth_{name}" for name in ERRORS} <= logged[data].keys()
    assert logged[data]["depth_abs_rel"] > 0
    assert "miou" in logged[data]


@pytest.mark.parametrize("render", ["volume", "gaussians"])
def test_unscenes3d_by_either_renderer(unscenes3d, tmp_path, capsys, caplog, monkeypatch, render):
    monkeypatch.setattr("dataset.lost_sensors.is_blank", lambda image: True)
    run(unscenes3d, f"--render {render} --json {tmp_path / 's.json'}")
    printed = capsys.readouterr().out
    assert "to 2 m" in printed
    assert "8×16 rays an image" in printed
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores.keys() >= ERRORS
    assert scores["by_distance"]["2"].keys() >= ERRORS
    assert (scores["render"], scores["frames"]) == (render, 2)
    assert caplog.text.count("2 of 2 frames: the image has a single color") == 1
    assert "cameras" not in scores


def test_the_seeds_command_runs_as_written(nuscenes, monkeypatch, capsys):
    _, trained = nuscenes
    shutil.copytree(trained, trained.with_name("novel_depth"))
    monkeypatch.chdir(trained.parents[2])
    eval_novel_depth.main(eval_novel_depth.parse_arguments(DOCUMENTED))
    printed = capsys.readouterr().out
    assert "96×200 rays an image" in printed
    assert all(camera in printed for camera in CAMERAS)


def test_nuscenes_by_cameras(nuscenes, tmp_path, capsys):
    run(nuscenes, f"--json {tmp_path / 's.json'} --limit 1")
    assert "CAM_BACK_LEFT" in capsys.readouterr().out
    scores = json.loads((tmp_path / "s.json").read_text())
    assert set(scores["cameras"]) == set(CAMERAS)
    mean = sum(scores["cameras"][name]["abs_rel"] for name in CAMERAS) / 6
    assert scores["abs_rel"] == pytest.approx(mean)
    assert scores["frames"] == 6


def test_options_change_what_they_say(unscenes3d, tmp_path):
    def scores(words):
        run(unscenes3d, f"{words} --json {tmp_path / 's.json'}")
        return json.loads((tmp_path / "s.json").read_text())

    raw = scores("")
    assert scores("--batch 50")["rmse"] == pytest.approx(raw["rmse"])
    assert scores("--depth-tgt max")["abs_rel"] != raw["abs_rel"]
    assert scores("--split train --frames 1 --limit 1")["frames"] == 1
    near = scores("--max-depth 20 --min-depth 1")
    assert (near["max_depth"], near["min_depth"]) == (20.0, 1.0)
    assert near["rmse"] < raw["rmse"]
    assert scores("--num-rays 16 32")["num_rays"] == [16, 32]
    scaled = scores("--median-scaling numpy")
    assert (raw["median_scaling"], scaled["median_scaling"]) == ("none", "numpy")
    assert scaled["rmse"] != raw["rmse"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--render gaussians --depth-tgt max", "Gaussians give the expected one"),
        ("--max-depth 0.01", "the depth range must satisfy 0 < min < max"),
        ("--resume-from nowhere.pth", r"checkpoint nowhere\.pth not found"),
    ],
)
def test_wrong_options_are_rejected(unscenes3d, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(unscenes3d, words)


def test_wrong_numbers_are_told_in_one_line(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    words = [eval_novel_depth.__file__, *DOCUMENTED, "--max-depth", "0.01"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit):
        runpy.run_path(eval_novel_depth.__file__, run_name="__main__")
    said = capsys.readouterr().err
    assert said.startswith("error: the depth range must satisfy 0 < min < max")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--frames"], "--frames"),
        (
            [*DOCUMENTED, "--num-rays", "1", "20"],
            "--num-rays: expected a whole number of at least 2",
        ),
        (
            [*DOCUMENTED, "--frames", "0"],
            "--frames: expected a whole number of at least 1, got '0'",
        ),
        (
            [*DOCUMENTED, "--limit", "-1"],
            "--limit: expected a whole number of at least 0, got '-1'",
        ),
        ([*DOCUMENTED, "--depth-tgt", "median"], "invalid choice: 'median'"),
        ([*DOCUMENTED, "--depht-tgt", "raw"], "unrecognized arguments: --depht-tgt"),
    ],
)
def test_wrong_arguments_are_rejected(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as stop:
        eval_novel_depth.parse_arguments(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_script_ends_with_one_message_and_a_status(tmp_path, monkeypatch, capsys):
    words = f"eval_novel_depth.py --work-dir {tmp_path}"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as end:
        runpy.run_path(eval_novel_depth.__file__, run_name="__main__")
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: checkpoint ")


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes", "minesim"])
def test_its_configs_differ_from_the_reference_in_what_training_renders_alone(data):
    ours = plain(load_config(CONFIG / f"{data}/{data}_novel_depth.py").to_dict())
    reference = plain(load_config(CONFIG / f"{data}/{data}_occ.py").to_dict())
    added = {name: ours["model"]["rendering"].pop(name) for name in ("novel_views", "novel_rays")}
    assert added["novel_views"] == 2
    assert ours == reference
