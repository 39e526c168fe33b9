import hashlib
import json
import shutil
import zipfile
from dataclasses import replace

import pytest

from dataset import layout
from dataset.prepare.release import MINI
from tests.layout_files import write_tiny_unscenes3d
from tools import prepare_unscenes3d


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("original")
    write_tiny_unscenes3d(root, frames=1, sweeps=0, image_size=(30, 48))
    return root


@pytest.fixture
def downloads(original, tmp_path, monkeypatch):
    """The four archives of the mini release, tiny, and known by their own checksums."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    known = []
    for archive in MINI:
        path = folder / archive.name
        with zipfile.ZipFile(path, "w") as file:
            for name in archive.holds:
                files = sorted((original / name).glob("*"))
                if archive.is_local_map:  # Every other file is in the first of the two.
                    files = files[int("loaclmap-2" in archive.name) :: 2]
                for source in files:
                    file.write(source, f"{path.stem}/{name}/{source.name}")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        known.append(replace(archive, size=path.stat().st_size, sha256=sha256))
    monkeypatch.setattr(prepare_unscenes3d, "MINI", tuple(known))
    return folder


def prepare(downloads, out, *options):
    words = ["--archives", str(downloads), "--out", str(out), "--workers", "1", *options]
    prepare_unscenes3d.main(prepare_unscenes3d.parse_arguments(words))


def files_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_from_archives_to_a_checked_data_set(original, downloads, tmp_path, capsys):
    out, report = tmp_path / "data", tmp_path / "report.json"
    prepare(downloads, out, "--split", "region", "--json", str(report))
    assert "0 errors" in capsys.readouterr().out
    found, expected = files_of(out), files_of(original)
    lists = {name for name in found if name.endswith(".txt") and name.startswith("imagesets")}
    assert lists == {"imagesets/train.txt", "imagesets/val.txt", "imagesets/test.txt"}
    assert {name: found[name] for name in set(found) - lists} == expected
    content = json.loads(report.read_text())
    assert content["splits"] == {"train": 1, "val": 1, "test": 1}
    assert content["files"]["localmap_clouds"] == 3


def test_again_and_from_unpacked_folders(original, downloads, tmp_path):
    out = tmp_path / "data"
    prepare(downloads, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix != ".txt"}
    archive = downloads / MINI[0].name
    shutil.unpack_archive(archive, downloads)
    archive.unlink()
    prepare(downloads, out)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.is_file())


def test_a_damaged_archive_stops_it_before_anything_is_written(downloads, tmp_path):
    path = downloads / MINI[1].name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="expected the sha256"):
        prepare(downloads, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_without_local_maps(downloads, tmp_path, capsys):
    for archive in MINI[2:]:
        (downloads / archive.name).unlink()
    with pytest.raises(FileNotFoundError, match="lacks 2 of 4 archives"):
        prepare(downloads, tmp_path / "data")
    prepare(downloads, tmp_path / "data", "--without-local-maps")
    assert "localmap_clouds: the folder is missing" in capsys.readouterr().out


def test_a_faulty_data_set_ends_with_status_1(downloads, tmp_path, monkeypatch, capsys):
    with zipfile.ZipFile(downloads / MINI[0].name, "a") as file:
        file.writestr("unscenes3d-mini_raw/images/1.5.jpg", b"no picture")
    with pytest.raises(SystemExit) as ended:
        prepare(downloads, tmp_path / "data", "--release", "other")
    assert ended.value.code == 1
    assert "images/1.5.jpg (frame 1.5)" in capsys.readouterr().out


def test_archives_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("notes.txt", "nothing")
    with pytest.raises(ValueError, match="have none of the folders of the layout"):
        prepare(tmp_path, tmp_path / "data", "--release", "other")


def test_boxes_are_taken_over_and_the_rest_is_named(downloads, tmp_path, caplog):
    with zipfile.ZipFile(downloads / MINI[1].name, "a") as file:
        file.writestr(f"top/{layout.BOXES}/1.5.txt", "box")
        file.writestr("top/licence.md", "text")
    prepare(downloads, tmp_path / "data", "--release", "other")
    assert (tmp_path / "data" / layout.BOXES / "1.5.txt").read_text() == "box"
    assert "1 files are not part of the layout and are skipped: top/licence.md" in caplog.text
