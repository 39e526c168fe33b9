import json
import shutil

import pytest

from tests.layout_files import write_tiny_unscenes3d
from tools import export_kitti


@pytest.fixture
def data(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", frames=1, sweeps=0, image_size=(30, 48))
    return tmp_path / "data"


def run(data, out, *options):
    words = [str(data), "--out", str(out), "--workers", "1", *options]
    export_kitti.main(export_kitti.parse_arguments(words))


def test_writes_frames_and_splits(data, tmp_path, capsys):
    out = tmp_path / "kitti"
    run(data, out, "--split", "val")
    assert f"1 frames in 1 sequences in {out / 'sequences'}" in capsys.readouterr().out
    assert [path.name for path in (out / "sequences").iterdir()] == ["0001"]
    assert json.loads((out / "splits.json").read_text())["test"] == ["0002"]


def test_an_export_is_added_to_only_when_asked(data, tmp_path):
    out = tmp_path / "kitti"
    run(data, out, "--split", "val")
    with pytest.raises(FileExistsError, match=r"exists.*--force"):
        run(data, out, "--split", "train")
    run(data, out, "--split", "train", "--force")
    assert len(list((out / "sequences").iterdir())) == 2


def test_labels_and_splits_are_left_out_where_there_are_none(data, tmp_path):
    for folder in ("occ", "imagesets"):
        shutil.rmtree(data / folder)
    run(data, tmp_path / "kitti")
    names = {path.name for path in (tmp_path / "kitti/sequences/0000").iterdir()}
    assert names == {"velodyne", "image_2", "calibs", "stems.txt"}
    assert not (tmp_path / "kitti/splits.json").exists()


def test_splits_without_frames_are_left_out(data, tmp_path):
    stem = min(path.stem for path in (data / "occ").iterdir())
    (data / "imagesets/train.txt").write_text(stem)
    (data / "imagesets/test.txt").write_text("")  # And there is no val.txt.
    run(data, tmp_path / "kitti")
    assert json.loads((tmp_path / "kitti/splits.json").read_text()) == {"train": ["0000"]}


def test_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data set"):
        run(tmp_path / "none", tmp_path / "kitti")
