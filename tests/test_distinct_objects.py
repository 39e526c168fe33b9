import json

import numpy as np
import pytest

from dataset.distinct_objects import count_distinct_objects, objects_of_drive
from dataset.splits import load_scenes
from tests.layout_files import write_tiny_unscenes3d
from tools import dataset_statistics as tool
from utils.labels import UNSCENES3D

CAR, TRUCK, MUDDY = (UNSCENES3D.class_names.index(name) for name in ("car", "truck", "muddy"))


def pose(x_m, y_m=0.0, yaw_deg=0.0):
    matrix = np.eye(4)
    turn = np.deg2rad(yaw_deg)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:2, 3] = x_m, y_m
    return matrix


def box(label, x, y, size=(4, 3, 2)):
    """Rows of a box of voxels whose lowest corner is at column (x, y)."""
    corners = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    return np.column_stack([corners + np.array([x, y, 10]), np.full(len(corners), label)])


def count(*frames):
    counts = objects_of_drive(frames)
    return {UNSCENES3D.class_names[k]: int(n) for k, n in enumerate(counts) if n}


def test_an_object_in_several_frames_counts_once():
    # 10 columns of 0.3 m closer in the second frame, 3 m further along the drive.
    frames = [(box(CAR, 100, 120), pose(0)), (box(CAR, 90, 120), pose(3))]
    assert count(*frames) == {"car": 1}
    # The same columns in both frames are two objects.
    frames = [(box(CAR, 100, 120), pose(0)), (box(CAR, 100, 120), pose(3))]
    assert count(*frames) == {"car": 2}


def test_poses_turn_objects_back():
    # Straight ahead at 30 m, and after a left turn of 90° on the spot at the right border of view.
    ahead = (box(TRUCK, 100, 128), pose(0))
    right = (box(TRUCK, 0, 28, (3, 4, 2)), pose(0, yaw_deg=90))
    assert count(ahead) == {"truck": 1}
    assert count(ahead, right) == {"truck": 1}


@pytest.mark.parametrize(("gap", "objects"), [(0, 1), (4, 1), (5, 2), (20, 2)])
def test_parts_that_are_close_are_one_object(gap, objects):
    rows = np.concatenate([box(CAR, 100, 120), box(CAR, 104 + gap, 120)])
    assert count((rows, pose(0))) == {"car": objects}


def test_classes_are_counted_apart_and_only_the_long_tail():
    drive = UNSCENES3D.class_names.index("driveable_surface")
    rows = np.concatenate([box(CAR, 10, 10), box(MUDDY, 14, 10), box(drive, 50, 50), box(0, 90, 9)])
    assert count((rows, pose(0))) == {"car": 1, "muddy": 1}


def test_one_column_is_no_object():
    assert count((box(CAR, 10, 10, (1, 1, 4)), pose(0))) == {}
    assert count((box(CAR, 10, 10, (2, 1, 1)), pose(0))) == {"car": 1}
    assert count() == {}


def test_a_drive_on_disk(tmp_path, capsys):
    stems = write_tiny_unscenes3d(tmp_path, frames=3, sweeps=0)
    counts = count_distinct_objects(
        tmp_path, stems, load_scenes(tmp_path), title="", workers=1, progress=False
    )
    assert counts[TRUCK] == 3  # One box in each of three drives, seen in three frames.
    assert counts.sum() == counts[TRUCK]
    words = [str(tmp_path), "--workers", "1", "--distinct", "--json", str(tmp_path / "s.json")]
    tool.main(tool.parse_arguments(words))
    assert "distinct: barrier 0, truck 1, widebody 0" in capsys.readouterr().out
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["val"]["distinct_objects"]["truck"] == 1
    with pytest.raises(ValueError, match=r"3 labeled frames are in no drive of imagesets/scene_i"):
        count_distinct_objects(tmp_path, stems[:3], {}, title="", workers=1)
