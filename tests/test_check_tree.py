import os
import shutil
from pathlib import Path

import pytest

from dataset import layout
from dataset.check.findings import Level
from dataset.check.tree import RECORDED, check_tree, read_tree
from tests.layout_files import write_tiny_unscenes3d

FOLDERS = tuple(layout.SUFFIXES)


def write(root: Path, stems, folders=FOLDERS):
    """Empty files; only their names are looked at."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (root / layout.relative_path(folder, stem)).touch()
    return root


def found(root):
    tree, findings = read_tree(root)
    return tree, [(f.level, f.check, f.path, f.stem) for f in findings + check_tree(tree)]


def test_without_imagesets_labeled_frames_are_those_with_occupancy(tmp_path):
    write(tmp_path, ["10.5", "9.5"])
    write(tmp_path, ["11.5"], RECORDED)
    tree, findings = found(tmp_path)
    assert tree.stems == ["9.5", "10.5", "11.5"]  # In the order of time.
    assert tree.labeled == {"9.5", "10.5"}
    assert (tree.source, tree.splits) == ("", {})
    # Where there are poses every recorded frame has one.
    assert findings == [(Level.ERROR, "missing_file", "vehicle_infos/11.5.txt", "11.5")]
    assert tree.folders_of("11.5") == (layout.CALIBS, layout.IMAGES, layout.CLOUDS)


def test_every_file_that_a_labeled_frame_lacks_is_named(tmp_path):
    write(tmp_path, ["1", "2"])
    for folder in (layout.IMAGES, layout.ELEVATION):
        (tmp_path / layout.relative_path(folder, "2")).unlink()
    _, findings = found(tmp_path)
    assert {path for _, _, path, _ in findings} == {"images/2.jpg", "elevation/2.png"}
    assert {check for _, check, _, _ in findings} == {"missing_file"}


def test_stems_that_are_no_time_are_warned_of(tmp_path):
    write(tmp_path, ["first"])
    _, findings = found(tmp_path)
    assert findings == [(Level.WARNING, "stem", "calibs/first.txt", "first")]


def test_frames_that_nothing_names_are_warned_of(tmp_path):
    write_tiny_unscenes3d(tmp_path, frames=1, sweeps=0)
    write(tmp_path, ["5.5"], (*RECORDED, layout.VEHICLE_INFOS))
    _, findings = found(tmp_path)
    assert findings == [(Level.WARNING, "unlisted_frame", "calibs/5.5.txt", "5.5")]


def test_splits_by_scenes_are_counted(tmp_path):
    write_tiny_unscenes3d(tmp_path, frames=1, sweeps=0)
    tree, findings = found(tmp_path)
    assert findings == []
    assert (tree.source, {k: len(v) for k, v in tree.splits.items()}) == (
        "official", {"train": 1, "val": 1, "test": 1},
    )  # fmt: skip


def test_scenes_that_allow_no_split_are_warned_of(tmp_path):
    write_tiny_unscenes3d(tmp_path, scenes={"mine": "elsewhere"}, frames=1, sweeps=0)
    _, findings = found(tmp_path)
    assert findings == [(Level.WARNING, "splits", "imagesets", "")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_recorded_folders_are_needed_and_others_are_missed(tmp_path, folder):
    write(tmp_path, ["1"])
    shutil.rmtree(tmp_path / folder)
    _, findings = found(tmp_path)
    level = Level.ERROR if folder in RECORDED else Level.WARNING
    assert findings == [(level, "folder", folder, "")]


def test_a_named_pipe_is_an_error_and_is_not_opened(tmp_path):
    write(tmp_path, ["1"])
    os.mkfifo(tmp_path / "clouds/2.bin")
    _, findings = found(tmp_path)
    assert findings == [(Level.ERROR, "no_file", "clouds/2.bin", "")]


def test_two_images_of_one_frame_are_an_error(tmp_path):
    write(tmp_path, ["1.0"])
    (tmp_path / layout.IMAGES / "1.0.PNG").touch()
    _, findings = read_tree(tmp_path)
    [finding] = [finding for finding in findings if finding.check == "repeated_file"]
    assert (finding.level, finding.stem) == (Level.ERROR, "1.0")
    assert "['1.0.PNG', '1.0.jpg']" in finding.message


def test_files_of_other_endings_are_not_looked_at(tmp_path):
    write(tmp_path, ["1"])
    (tmp_path / "images/._1.jpg").touch()
    (tmp_path / "images/notes.txt").touch()
    (tmp_path / "images/.2.jpg.partial").touch()
    assert found(tmp_path)[1] == []
