import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dataset import layout
from dataset.fingerprints import (
    Comparison,
    compare,
    fingerprint_drives,
    read_fingerprints,
    write_fingerprints,
)
from dataset.splits import load_scenes
from tests.layout_files import write_tiny_unscenes3d
from tools import verify_dataset as tool


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root, frames=2, sweeps=1)
    return root


@pytest.fixture
def data(template, tmp_path):
    return shutil.copytree(template, tmp_path / "data")


@pytest.fixture(scope="module")
def expected(template):
    return fingerprints_of(template)


def fingerprints_of(root):
    return fingerprint_drives(root, load_scenes(root), workers=1, progress=False)


def run(*words):
    tool.main(tool.parse_arguments([*map(str, words), "--workers", "1"]))


def change(path, edit):
    array = np.load(path)
    edit(array)
    np.save(path, array)


def first(data, folder):
    return sorted((data / folder).iterdir())[0]


def test_a_copy_is_identical(data, tmp_path, capsys):
    run(data, "--write", tmp_path / "f.csv", "--title", "A mine, version 1")
    assert f"{tmp_path / 'f.csv'}: 3 drives" in capsys.readouterr().out
    run(data, "--against", tmp_path / "f.csv")
    printed = capsys.readouterr().out
    assert printed.startswith("A mine, version 1: all 3 drives are the same up to rounding; 3 have")
    assert "3 of them equal inputs" in printed


def test_files_are_read_as_they_were_written(expected, tmp_path):
    write_fingerprints(expected, "A mine", tmp_path / "f.csv")
    assert read_fingerprints(tmp_path / "f.csv") == (expected, "A mine")


def test_rounding_keeps_a_drive_the_same(data, expected):
    def move_one(rows):
        rows[0, 0] = 255  # One voxel elsewhere.

    change(first(data, layout.OCCUPANCY), move_one)
    cloud = first(data, layout.CLOUDS)
    points = np.fromfile(cloud, np.float32)
    points[:3] += 0.01
    points.tofile(cloud)
    found = compare(fingerprints_of(data), expected)
    assert found == Comparison(drives=3, same_labels=2, identical=2, different={})


def test_other_labels_are_named(data, expected, tmp_path):
    def relabel(rows):
        rows[rows[:, 3] == 11, 3] = 9

    change(first(data, layout.OCCUPANCY), relabel)
    write_fingerprints(expected, "A mine", tmp_path / "f.csv")
    message = r"is not the data of .*f\.csv \(A mine\): 1 of 3 drives differ: scene_0000\d has \d+ "
    with pytest.raises(ValueError, match=message + "voxels of muddy instead of 0"):
        run(data, "--against", tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stems": "0"}, "has other frames"),
        ({"gray": 300.0}, "has a mean gray level of .* instead of 300.0"),
        ({"points": 1}, r"has points=\d+ instead of 1"),
        ({"depth_m": 1.0}, r"has depth_m=[\d.]+ instead of 1.0"),
    ],
)
def test_each_sum_counts(expected, changes, message):
    name = "scene_00006"
    other = {**expected, name: replace(expected[name], **changes)}
    [reason] = compare(expected, other).different.values()
    assert compare(expected, other).drives == 2
    assert re.search(message, reason)


def test_missing_and_further_drives_are_named(expected):
    some = dict(list(expected.items())[1:])
    gone = next(iter(expected))
    assert compare(some, expected).different == {gone: "is missing"}
    assert compare(expected, some).different == {gone: "is not expected"}


def test_files_that_are_none(data, tmp_path):
    path = tmp_path / "f.csv"
    with pytest.raises(FileNotFoundError, match=r"fingerprints .*f\.csv not found; tools/verify"):
        run(data, "--against", path)
    for text in ("", "scene,stems\n", "# A mine\nscene,stems\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"f\.csv: expected a title and the columns scene,st"):
            run(data, "--against", path)
    write_fingerprints({}, "A mine", path)
    path.write_text(path.read_text() + "scene_00000,a,b,c,1\n")
    with pytest.raises(ValueError, match=r"f\.csv is damaged: .*; copy it again"):
        run(data, "--against", path)
    (data / layout.IMAGESETS / layout.SCENE_INFO).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no imagesets/scene_info\.json"):
        run(data, "--write", path)
