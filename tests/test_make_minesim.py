import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset.minesim.scene.environment import CONDITIONS
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS
from dataset.minesim.write.production import Summary
from tools.make_minesim import make, parse_arguments, table, worker_count
from utils.labels import NUSCENES

ROOT = Path(__file__).resolve().parents[1]


def test_defaults():
    arguments = parse_arguments(["--out", "x", "--scenes", "4", "--frames", "5"])
    assert arguments.image_size == (1920, 1200)
    assert arguments.workers is None
    assert arguments.sweeps
    assert not arguments.force
    assert arguments.layout == "unscenes3d"


def test_options():
    line = "--out x --scenes 4 --frames 5 --image-size 480x300 --workers 2 --no-sweeps --val 1"
    arguments = parse_arguments(line.split())
    assert arguments.image_size == (480, 300)
    assert arguments.workers == 2
    assert not arguments.sweeps
    assert arguments.val == 1


def test_variation_options():
    line = "--out x --scenes 4 --frames 5 --conditions dust,night --lidar mixed --camera-variation"
    arguments = parse_arguments(line.split())
    assert arguments.conditions == ("dust", "night")
    assert arguments.lidar == tuple(LIDAR_MODELS)
    assert arguments.camera_variation
    assert arguments.patches == 0
    every = parse_arguments(["--out", "x", "--scenes", "1", "--frames", "1", "--conditions", "all"])
    assert every.conditions == CONDITIONS


def test_patches_are_a_share_of_the_scenes():
    line = "--out x --scenes 1 --frames 1 --patches"
    assert parse_arguments(line.split()).patches == 1
    assert parse_arguments([*line.split(), "0.25"]).patches == 0.25


def test_options_from_a_file(tmp_path):
    recipe = tmp_path / "data.txt"
    recipe.write_text("# A mine.\n--scenes 4 --frames 5  # Few.\n\n--density car=2 truck=0.5\n")
    arguments = parse_arguments([f"@{recipe}", "--out", "x", "--frames", "2"])
    assert (arguments.scenes, arguments.frames) == (4, 2)
    assert dict(arguments.density) == {"car": 2, "truck": 0.5}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--conditions fog", "unknown name 'fog'; choose 'all' or from standard, wet"),
        ("--lidar at128,sonar", "unknown name 'sonar'; choose 'mixed' or from livox_hap"),
        ("--density hut=2", "unknown class 'hut'; choose from car, excavator, machinery, ped"),
        ("--density car", "expected a number of at least 0, got ''"),
        ("--layout nuscenes --density car=2", "--density can only be used with --layout unsc"),
        ("--layout nuscenes --patches", "--patches can only be used with --layout unscenes3d"),
    ],
)
def test_rejects_unknown_names_and_other_layouts(line, message, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--out", "x", "--scenes", "1", "--frames", "1", *line.split()])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_rejects_an_invalid_number_of_workers(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected 'auto' or a number"):
        worker_count(text)


def test_table_excludes_background_from_the_shares():
    voxels = np.zeros(12, np.int64)
    voxels[[0, 2, 11]] = 500, 25, 75
    scenes = {"train": ("scene_00000",), "val": (), "test": ()}
    text = table(Summary(Path("data"), scenes, samples=3, sweeps=2, voxels=voxels))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["truck"] == ["25", "25.000%"]
    assert rows["driveable_surface"] == ["75", "75.000%"]
    assert rows["(background)"] == ["500"]
    assert rows["train"][0] == "1"


def test_a_user_error_gives_one_line_without_a_traceback(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    command = ["tools/make_minesim.py", "--out", str(tmp_path), "--scenes", "1", "--frames", "1"]
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "was not made by MineSim" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_nuscenes_layout(tmp_path):
    line = (
        f"--out {tmp_path} --layout nuscenes --scenes 1 --frames 1 --image-size 32x18 --workers 1 "
        "--lidar-columns 4 --map-voxel 0.3 --ground-cell 2 --no-sweeps"
    )
    summary, labels = make(parse_arguments(line.split()))
    assert labels is NUSCENES
    assert summary.sweeps == 0
    assert (tmp_path / "nuscenes/v1.0-mini/sample_data.json").is_file()
    text = table(summary, labels)
    assert "construction_vehicle " in text
    assert "(background)" not in text
    assert "\ntest " not in text
    assert parse_arguments(
        ["--out", "x", "--scenes", "1", "--frames", "1", "--layout", "nuscenes"]
    ).image_size == (
        1600,
        900,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--num-sweeps 2", "--num-sweeps can only be used with --layout nuscenes"),
        ("--lidar-columns 8", "--lidar-columns can only be used with --layout nuscenes"),
        ("--layout nuscenes --test 1", "--test can only be used with --layout unscenes3d"),
    ],
)
def test_rejects_options_of_the_other_layout(line, message, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--out", "x", "--scenes", "2", "--frames", "2", *line.split()])
    assert message in capsys.readouterr().err
