import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset.minesim.generate import Summary
from tools.make_minesim import image_size, parse_arguments, table, worker_count

ROOT = Path(__file__).resolve().parents[1]


def test_defaults():
    arguments = parse_arguments(["--out", "x", "--scenes", "4", "--frames", "5"])
    assert arguments.image_size == (1920, 1200)
    assert arguments.workers is None
    assert arguments.sweeps
    assert not arguments.force


def test_options():
    line = "--out x --scenes 4 --frames 5 --image-size 480x300 --workers 2 --no-sweeps --val 1"
    arguments = parse_arguments(line.split())
    assert arguments.image_size == (480, 300)
    assert arguments.workers == 2
    assert not arguments.sweeps
    assert arguments.val == 1


@pytest.mark.parametrize("text", ["480", "480x", "ax300", "480x300x3"])
def test_refuses_a_size_of_another_form(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected WIDTHxHEIGHT"):
        image_size(text)


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_refuses_another_number_of_workers(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected 'auto' or a number"):
        worker_count(text)


def test_table_leaves_background_out_of_the_shares():
    voxels = np.zeros(12, np.int64)
    voxels[[0, 2, 11]] = 500, 25, 75
    scenes = {"train": ("scene_00000",), "val": (), "test": ()}
    text = table(Summary(Path("data"), scenes, samples=3, sweeps=2, voxels=voxels))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["truck"] == ["25", "25.000%"]
    assert rows["driveable_surface"] == ["75", "75.000%"]
    assert rows["(background)"] == ["500"]
    assert rows["train"][0] == "1"


def test_a_mistake_ends_with_one_line_and_no_traceback(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    command = ["tools/make_minesim.py", "--out", str(tmp_path), "--scenes", "1", "--frames", "1"]
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("make_minesim: ")
    assert "was not made by MineSim" in ran.stderr
    assert "Traceback" not in ran.stderr
