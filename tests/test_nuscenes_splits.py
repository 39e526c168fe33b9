import logging

import pytest
from mmengine.logging import MMLogger

from dataset.nuscenes.splits import find_version, official_scenes, scenes_of_split


@pytest.mark.parametrize(
    ("version", "split", "count", "first"),
    [
        ("v1.0-trainval", "train", 700, "scene-0001"),
        ("v1.0-trainval", "val", 150, "scene-0003"),
        ("v1.0-test", "test", 150, "scene-0077"),
        ("v1.0-mini", "train", 8, "scene-0061"),
        ("v1.0-mini", "val", 2, "scene-0103"),
    ],
)
def test_official_splits(version, split, count, first):
    scenes = official_scenes(version, split)
    assert (len(set(scenes)), scenes[0]) == (count, first)


def test_no_scene_is_in_two_splits():
    lists = [("v1.0-trainval", "train"), ("v1.0-trainval", "val"), ("v1.0-test", "test")]
    scenes = [scene for version, split in lists for scene in official_scenes(version, split)]
    assert len(set(scenes)) == len(scenes) == 1000


def test_a_version_has_its_own_splits_only():
    with pytest.raises(ValueError, match=r"v1\.0-mini has the splits \['train', 'val'\] and 'all'"):
        official_scenes("v1.0-mini", "test")
    with pytest.raises(ValueError, match=r"v1\.0-test has the splits \['test'\]"):
        official_scenes("v1.0-test", "val")


@pytest.mark.parametrize(
    ("folders", "split", "found"),
    [
        (("v1.0-trainval", "v1.0-test", "v1.0-mini"), "train", "v1.0-trainval"),
        (("v1.0-trainval", "v1.0-test", "v1.0-mini"), "test", "v1.0-test"),
        (("v1.0-test", "v1.0-mini"), "val", "v1.0-mini"),
        (("v1.0-mini",), "all", "v1.0-mini"),
        (("v1.0-trainval", "v1.0-mini"), "all", "v1.0-trainval"),
    ],
)
def test_auto_takes_the_first_version_that_is_there_and_has_the_split(
    tmp_path, folders, split, found
):
    for folder in folders:
        (tmp_path / folder).mkdir()
    assert find_version(tmp_path, split) == found


def test_a_version_can_be_named(tmp_path):
    for folder in ("v1.0-trainval", "v1.0-mini"):
        (tmp_path / folder).mkdir()
    assert find_version(tmp_path, "val", "v1.0-mini") == "v1.0-mini"
    with pytest.raises(ValueError, match=r"v1\.0-mini has the splits"):
        find_version(tmp_path, "test", "v1.0-mini")
    with pytest.raises(FileNotFoundError, match=r"has no tables v1\.0-test for the split 'test'"):
        find_version(tmp_path, "test")


def test_what_is_not_there_or_not_known_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data set at .*nowhere': set data_root"):
        find_version(tmp_path / "nowhere", "val")
    (tmp_path / "samples").mkdir()
    message = r"no tables v1\.0-trainval or v1\.0-mini for .* it has the folders \['samples'\]"
    with pytest.raises(FileNotFoundError, match=message):
        find_version(tmp_path, "val")
    with pytest.raises(ValueError, match=r"unknown version 'v2\.0'; known:"):
        find_version(tmp_path, "val", "v2.0")
    with pytest.raises(ValueError, match="unknown split 'mini_val'; known:"):
        find_version(tmp_path, "mini_val")


def test_scenes_of_a_split():
    scenes = ["scene-0916", "scene-0061", "scene-0103"]
    assert scenes_of_split("v1.0-mini", "val", scenes) == ["scene-0103", "scene-0916"]
    assert scenes_of_split("v1.0-mini", "all", scenes) == sorted(scenes)
    with pytest.raises(ValueError, match=r"none of the 150 official .* 'test'.* among the 3"):
        scenes_of_split("v1.0-test", "test", scenes)


@pytest.mark.parametrize(
    ("scenes", "is_whole", "warns"),
    [
        (["scene-0103"], True, True),
        (["scene-0103"], False, False),
        (["scene-0103", "scene-0916"], True, False),
    ],
)
def test_tables_that_lack_scenes_of_a_split_are_warned_of(scenes, is_whole, warns):
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    scenes_of_split("v1.0-mini", "val", scenes, is_whole=is_whole)
    logger.removeHandler(handler)
    assert any("have only 1 of the 2 official scenes of 'val'" in line for line in lines) == warns
