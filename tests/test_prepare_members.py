import os
import stat
import zipfile
import zlib

import pytest

from dataset import layout
from dataset.prepare.members import members_of, place, reject_conflicts
from dataset.prepare.release import Archive, Source

ANY = Archive("any.zip")
MAPS = Archive("maps.zip", holds=(layout.LOCAL_MAPS,))


def archive_of(path, *names, archive=ANY, mode=None):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            entry = zipfile.ZipInfo(name)
            if mode is not None:
                entry.external_attr = mode << 16
            file.writestr(entry, name)
    return Source(archive, path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("unscenes3d-mini_raw/images/1.5.jpg", "images/1.5.jpg"),
        ("images/1.5.jpg", "images/1.5.jpg"),
        ("a/b/c/imagesets/scene_info.json", "imagesets/scene_info.json"),
        ("images/raw/clouds/1.5.bin", "clouds/1.5.bin"),  # The innermost folder.
        ("unscenes3d-mini_raw/readme.md", None),
        ("images", None),
    ],
)
def test_places_of_files(name, target):
    assert place(name, ()) == target


def test_an_archive_of_one_kind_may_leave_its_folder_out():
    maps = (layout.LOCAL_MAPS,)
    assert place("unscenes3d-mini_loaclmap-1/1.5.bin", maps) == "localmap_clouds/1.5.bin"
    assert place("unscenes3d-mini_loaclmap-1/notes.txt", maps) is None
    assert place("x/1.5.PNG", (layout.IMAGES,)) == "images/1.5.PNG"
    assert place("x/train.txt", (layout.IMAGESETS,)) is None
    assert place("x/1.5.bin", (layout.LOCAL_MAPS, layout.CLOUDS)) is None


def test_members_of_an_archive_without_clutter(tmp_path):
    names = ("top/occ/", "top/occ/1.npy", "__MACOSX/top/occ/._1.npy", "top/occ/.DS_Store")
    [member] = members_of(archive_of(tmp_path / "a.zip", *names))
    assert (member.name, member.target) == ("top/occ/1.npy", "occ/1.npy")
    assert (member.size, member.crc) == (13, zlib.crc32(b"top/occ/1.npy"))


def test_members_of_a_folder(tmp_path):
    (tmp_path / "top/occ").mkdir(parents=True)
    (tmp_path / "top/occ/1.npy").write_text("four")
    [member] = members_of(Source(ANY, tmp_path / "top"))
    assert (member.name, member.target) == ("occ/1.npy", "occ/1.npy")
    assert (member.size, member.crc) == (4, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "an absolute path"),
        ("C:/images/1.jpg", "an absolute path"),
        ("../images/1.jpg", "a path that leaves"),
        ("images/../../1.jpg", "a path that leaves"),
        ("images\\1.jpg", "a path with backslashes"),
        ("..\\images\\1.jpg", "a path that leaves"),
        ("\\\\host\\images\\1.jpg", "an absolute path"),
    ],
)
def test_rejects_paths_that_could_lead_elsewhere(tmp_path, name, problem):
    source = archive_of(tmp_path / "a.zip", "images/0.jpg", name)
    with pytest.raises(ValueError, match=f"is {problem}.*Nothing was unpacked"):
        members_of(source)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_rejects_links_and_devices(tmp_path, kind):
    source = archive_of(tmp_path / "a.zip", "images/1.jpg", mode=kind | 0o644)
    with pytest.raises(ValueError, match="a link or device"):
        members_of(source)


def test_plain_files_with_a_mode_are_taken(tmp_path):
    source = archive_of(tmp_path / "a.zip", "images/1.jpg", mode=stat.S_IFREG | 0o644)
    assert len(members_of(source)) == 1


def test_rejects_encrypted_entries(tmp_path):
    path = tmp_path / "a.zip"
    archive_of(path, "images/1.jpg")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # The flag in the central directory.
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is encrypted"):
        members_of(Source(ANY, path))


def test_rejects_links_in_folders(tmp_path):
    (tmp_path / "images").mkdir()
    os.symlink("/etc/hostname", tmp_path / "images/1.jpg")
    with pytest.raises(ValueError, match=r"1.jpg: expected a regular file, got a link"):
        members_of(Source(ANY, tmp_path))


def test_rejects_what_is_no_zip_file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_text("<html>")
    with pytest.raises(ValueError, match=f"{path} is not a valid zip file"):
        members_of(Source(ANY, path))


def test_rejects_two_files_for_one_place(tmp_path):
    one = members_of(archive_of(tmp_path / "a.zip", "a/occ/1.npy"))
    other = members_of(archive_of(tmp_path / "b.zip", "b/occ/1.npy"))
    again = members_of(archive_of(tmp_path / "c.zip", "a/occ/1.npy"))
    reject_conflicts([*one, *again])  # The same content twice does no harm.
    with pytest.raises(
        ValueError, match=r"'a/occ/1.npy' and .*'b/occ/1.npy' both unpack to occ/1.npy"
    ):
        reject_conflicts([*one, *other])
