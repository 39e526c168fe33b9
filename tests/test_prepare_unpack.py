import shutil
import zipfile
from types import SimpleNamespace

import pytest

from dataset.prepare.members import members_of
from dataset.prepare.release import Archive, Source
from dataset.prepare.unpack import missing_members, require_space, unpack

NAMES = ("top/occ/1.npy", "top/images/1.jpg", "top/images/2.jpg")


def write(path, names=NAMES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, name * 1000)
    return members_of(Source(Archive(path.name), path))


@pytest.fixture
def members(tmp_path):
    return write(tmp_path / "a.zip")


def test_unpacks_an_archive_and_a_folder_alike(tmp_path, members):
    root, seen = tmp_path / "data", []
    unpack(members, root, seen.append)
    assert (root / "images/2.jpg").read_text() == NAMES[2] * 1000
    assert sum(seen) == sum(member.size for member in members)
    copied = members_of(Source(Archive("data.zip"), root))
    unpack(copied, tmp_path / "copy", seen.append)
    files = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    assert {str(path) for path in files} == {"occ/1.npy", "images/1.jpg", "images/2.jpg"}
    assert all((tmp_path / "copy" / f).read_bytes() == (root / f).read_bytes() for f in files)


def test_resumes_where_it_stopped(tmp_path, members):
    root = tmp_path / "data"

    def stop(_):
        if (root / "occ/1.npy").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(members, root, stop)
    assert sorted(path.name for path in root.rglob("*.*")) == ["1.npy"]  # Whole ones only.
    missing = missing_members(members, root, force=False)
    assert [member.target for member in missing] == ["images/1.jpg", "images/2.jpg"]
    unpack(missing, root, lambda _: None)
    assert missing_members(members, root, force=False) == []


def test_other_files_are_not_replaced_unless_forced(tmp_path, members):
    root = tmp_path / "data"
    unpack(members, root, lambda _: None)
    path = root / "images/1.jpg"
    path.write_text("?" * path.stat().st_size)  # As large as that of the archive.
    with pytest.raises(FileExistsError, match=r"1 files that differ.*images/1.jpg.*--force"):
        missing_members(members, root, force=False)
    forced = missing_members(members, root, force=True)
    assert [member.target for member in forced] == ["images/1.jpg"]
    unpack(forced, root, lambda _: None)
    assert path.read_text() == NAMES[1] * 1000


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path, members):
    root, outside = tmp_path / "data", tmp_path / "outside.txt"
    outside.write_text("mine")
    (root / "images").mkdir(parents=True)
    (root / "images/1.jpg").symlink_to(outside)
    with pytest.raises(FileExistsError, match=r"images/1\.jpg"):
        missing_members(members, root, force=False)
    unpack(missing_members(members, root, force=True), root, lambda _: None)
    assert outside.read_text() == "mine"
    assert not (root / "images/1.jpg").is_symlink()


def test_a_damaged_member_is_named_and_not_left_behind(tmp_path, members):
    path, root = tmp_path / "a.zip", tmp_path / "data"
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # In the first member's content.
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path}: 'top/occ/1.npy' is corrupt"):
        unpack(members, root, lambda _: None)
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_the_disk_is_looked_at_first(tmp_path, members, monkeypatch):
    require_space(members, tmp_path / "not/yet/there")
    small = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    with pytest.raises(OSError, match=r"needs 0.21 GB, its disk has 0.00 GB free"):
        require_space(members, tmp_path / "data")
