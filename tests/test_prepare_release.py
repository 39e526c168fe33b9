import hashlib

import pytest

from dataset import layout
from dataset.prepare.release import MINI, PAGE, Archive, Source, all_sources, find_sources, verify

CONTENT = b"archive" * 100
RAW = Archive("raw.zip", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), (layout.IMAGES,))
MAPS = Archive("maps.zip", 1, "0" * 64, (layout.LOCAL_MAPS,), is_local_map=True)


def test_the_mini_release_covers_the_layout():
    held = {folder for archive in MINI for folder in archive.holds}
    assert held == {*layout.SUFFIXES, layout.IMAGESETS, layout.BOXES}
    assert all(len(archive.sha256) == 64 and archive.size > 1e8 for archive in MINI)
    assert sum(archive.size for archive in MINI) == 4_473_985_027
    assert [archive.is_local_map for archive in MINI] == [False, False, True, True]


def test_finds_archives_and_folders_of_their_names(tmp_path):
    (tmp_path / "raw.zip").write_bytes(CONTENT)
    (tmp_path / "maps").mkdir()
    found = find_sources(tmp_path, (RAW, MAPS), local_maps=True)
    assert found == [Source(RAW, tmp_path / "raw.zip"), Source(MAPS, tmp_path / "maps")]
    assert find_sources(tmp_path, (RAW, MAPS), local_maps=False) == found[:1]


def test_names_what_is_missing_and_where_to_get_it(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"lacks 2 of 2 archives:\n  raw.zip: images\n"
    ) as e:
        find_sources(tmp_path, (RAW, MAPS), local_maps=True)
    assert PAGE in str(e.value)
    assert "--without-local-maps" in str(e.value)
    (tmp_path / "raw.zip").write_bytes(CONTENT)
    with pytest.raises(FileNotFoundError, match=r"folder of archives .* not found"):
        find_sources(tmp_path / "none", (RAW,), local_maps=True)


def test_verifies_and_reports_the_bytes(tmp_path):
    path = tmp_path / "raw.zip"
    path.write_bytes(CONTENT)
    seen = []
    verify(Source(RAW, path), seen.append)
    assert sum(seen) == len(CONTENT)


def test_rejects_an_incomplete_download(tmp_path):
    path = tmp_path / "raw.zip"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"expected 700 bytes, got 699.*download it again"):
        verify(Source(RAW, path), lambda _: None)


def test_rejects_a_damaged_download(tmp_path):
    path = tmp_path / "raw.zip"
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ValueError, match=f"{path}: expected the sha256 {RAW.sha256}, got"):
        verify(Source(RAW, path), lambda _: None)


def test_all_archives_of_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*.zip in"):
        all_sources(tmp_path)
    for name in ("b.zip", "a.zip", "notes.txt"):
        (tmp_path / name).touch()
    assert [source.path.name for source in all_sources(tmp_path)] == ["a.zip", "b.zip"]
