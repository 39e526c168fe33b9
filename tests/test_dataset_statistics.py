import json
import shutil

import cv2
import numpy as np
import pytest

from dataset.statistics import empty_statistics, frame_statistics
from tests.layout_files import write_tiny_unscenes3d
from tools import dataset_statistics as tool


@pytest.fixture
def data(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", frames=1, sweeps=0)
    return tmp_path / "data"


def run(data, *options):
    words = [str(data), "--workers", "1", *options]
    tool.main(tool.parse_arguments(words))


def test_tables_json_and_plot(data, tmp_path, capsys):
    out, plot = tmp_path / "s.json", tmp_path / "s.png"
    run(data, "--json", str(out), "--plot", str(plot))
    printed = capsys.readouterr().out
    assert [f"{split}: 1 frames" in printed for split in ("train", "val", "test")] == [True] * 3
    content = json.loads(out.read_text())
    assert list(content) == ["train", "val", "test"]
    truck = content["train"]
    assert truck["frames_with"]["truck"] == 1
    assert sum(truck["objects"]["truck"]) == 1  # One box on the ground.
    assert truck["shares"]["truck"] == pytest.approx(0.032, abs=0.005)
    assert len(truck["class_weights"]) == len(truck["class_counts"]) == 12
    assert cv2.imread(str(plot)).shape[1] > 800
    assert (data / "statistics/val.json").is_file()


def test_without_imagesets_all_labels_count(data, capsys):
    shutil.rmtree(data / "imagesets")
    run(data)
    assert "all: 3 frames" in capsys.readouterr().out


def test_splits_without_frames_are_left_out(data, tmp_path, capsys):
    stem = next((data / "occ").iterdir()).stem
    (data / "imagesets/train.txt").write_text(stem)
    (data / "imagesets/test.txt").write_text("")  # And there is no val.txt.
    run(data, "--plot", str(tmp_path / "s.png"))
    printed = capsys.readouterr().out
    assert "train: 1 frames" in printed
    assert "test:" not in printed


def test_without_labels(tmp_path):
    write_tiny_unscenes3d(tmp_path, frames=1, sweeps=0, labels=False)
    with pytest.raises(FileNotFoundError, match=r"lacks the folders \['occ'\]"):
        run(tmp_path)


def test_rows_of_a_table():
    rows = np.array([[x, 128, 0, 2] for x in range(100, 104)] + [[0, 128, 0, 11]] * 4)
    lines = tool.table("val", frame_statistics(rows)).splitlines()
    cells = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert cells["truck"] == "4 50.0000 % 0.8500 % 100.0 % 1 1.00 30–40"
    assert cells["car"].endswith(" 0 0.00 -")
    assert cells["driveable_surface"].endswith(" - - 0–10")
    assert cells["class_counts=(0,"] == "0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4)"
    assert "val: 0 frames" in tool.table("val", empty_statistics())
