import os
import shutil

import pytest

from dataset import inventory, layout
from tests.layout_files import write_tiny_unscenes3d


@pytest.fixture
def root(tmp_path):
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, frames=2)
    return tmp_path


def remove(root, folder, stem):
    (root / layout.relative_path(folder, stem)).unlink()


def test_every_field_has_folders_and_every_folder_is_known():
    assert inventory.folders_of(["images", "points", "images"]) == ("images", "clouds")
    assert inventory.folders_of(["pixel_from_lidar", "world_from_lidar"]) == (
        "calibs",
        "vehicle_infos",
    )
    assert set(inventory.folders_of(inventory.FIELD_FOLDERS)) <= set(layout.SUFFIXES)


@pytest.mark.parametrize("fields", [["images", "lidar"], []])
def test_unknown_fields_are_rejected(fields):
    with pytest.raises(ValueError, match=r"fields must be one or more of \['caption', .*, got \["):
        inventory.folders_of(fields)


def test_stems_keep_their_text_and_ignore_other_files(tmp_path):
    folder = tmp_path / "clouds"
    folder.mkdir()
    for name in ("10.500000.bin", "9.5.bin", "notes.txt", "late.bin", "._9.5.bin"):
        (folder / name).touch()
    assert inventory.stems_in(tmp_path, "clouds") == {"10.500000", "9.5", "late"}
    assert inventory.complete_stems(tmp_path, inventory.folders_of(["points"])) == [
        "9.5",
        "10.500000",
        "late",
    ]
    assert inventory.stems_in(tmp_path, "images") == set()


def test_entries_that_are_no_files_are_named(tmp_path):
    folder = tmp_path / "clouds"
    folder.mkdir()
    (folder / "1.bin").touch()
    (folder / "2.bin").symlink_to(folder / "1.bin")
    os.mkfifo(folder / "3.bin")
    (folder / "4.bin").symlink_to(folder)
    (folder / "5.bin").symlink_to(folder / "5.bin")
    (folder / "6.bin").symlink_to(folder / "gone.bin")
    (folder / "7.bin").symlink_to("/dev/null")
    assert inventory.list_folder(tmp_path, "clouds") == (
        {"1": ["1.bin"], "2": ["2.bin"]},
        [
            "3.bin (named pipe)",
            "4.bin (folder)",
            "5.bin (broken link)",
            "6.bin (broken link)",
            "7.bin (device or socket)",
        ],
    )
    with pytest.raises(ValueError, match=r"clouds': expected files, found .*3\.bin \(named pipe\)"):
        inventory.stems_in(tmp_path, "clouds")


def test_images_may_have_any_suffix_in_any_case(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    names = ("1.5.jpg", "2.JPG", "3.jpeg", "4.JPEG", "5.png", "6.PNG", "7.Jpg", "._8.jpg", "9.tif")
    for name in names:
        (folder / name).touch()
    stems = ["1.5", "2", "3", "4", "5", "6", "7"]
    assert inventory.stems_in(tmp_path, "images") == set(stems)
    found = [inventory.path_of(tmp_path, "images", stem) for stem in stems]
    assert [path.name for path in found] == list(names[:7])
    assert inventory.path_of(tmp_path, "images", "10").name == "10.jpg"
    assert inventory.path_of(tmp_path, "clouds", "10").name == "10.bin"


def test_two_files_of_one_frame_are_rejected(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1.5.jpg", "1.5.PNG"):
        (folder / name).touch()
    with pytest.raises(ValueError, match=r"images' has several files of 1 frames.*'1\.5\.PNG'"):
        inventory.stems_in(tmp_path, "images")


def test_complete_stems_have_all_the_fields(root):
    all_stems = inventory.complete_stems(root, inventory.folders_of(["images", "points"]))
    labeled = inventory.complete_stems(root, inventory.folders_of(["images", "occupancy"]))
    assert (len(all_stems), len(labeled)) == (4, 2)
    assert labeled == [all_stems[0], all_stems[2]]
    remove(root, layout.IMAGES, all_stems[0])
    assert inventory.complete_stems(root, ["images", "clouds"]) == all_stems[1:]


def test_missing_root_and_folders_are_named(root):
    with pytest.raises(FileNotFoundError, match=r"no data set at '.*elsewhere': set data_root"):
        inventory.require_folders(root / "elsewhere", ["images"])
    shutil.rmtree(root / layout.IMAGES)
    shutil.rmtree(root / layout.OCCUPANCY)
    with pytest.raises(
        FileNotFoundError, match=r"lacks the folders \['images', 'occ'\]; it has \['calibs', "
    ):
        inventory.require_folders(root, ["occ", "images", "clouds"])


def test_missing_files_are_counted_and_named(root):
    stems = inventory.complete_stems(root, inventory.folders_of(["points"]))
    inventory.require_files(root, ["clouds", "images"], stems)
    remove(root, layout.CLOUDS, stems[1])
    remove(root, layout.IMAGES, stems[0])
    remove(root, layout.IMAGES, stems[3])
    message = (
        rf"clouds/ lacks 1 of 4: {stems[1]}; "
        rf"images/ lacks 2 of 4: {stems[0]}, {stems[3]} \(\.jpg, \.jpeg, \.png\)\. Copy"
    )
    with pytest.raises(FileNotFoundError, match=message):
        inventory.require_files(root, ["clouds", "images"], stems)


def test_only_the_first_missing_files_are_named(root):
    wanted = [str(i) for i in range(9)]
    with pytest.raises(FileNotFoundError, match=r"lacks 9 of 9: 0, 1, 2, 3, 4 and 4 more\. Copy"):
        inventory.require_files(root, ["clouds"], wanted)
