import json
import logging

import pytest
from mmengine.logging import MMLogger

from dataset import splits
from dataset.scene_files import Scene


def write_lists(root, **lists):
    folder = root / "imagesets"
    folder.mkdir(exist_ok=True)
    for split, stems in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(stems))


def scene(location, *samples, sweeps=()):
    return Scene(location, samples, sweeps)


BY_ID = {  # Known ids of train, val, test; the regions would split them otherwise.
    "scene_00000": scene("location_6", "1.0"),
    "clip_00006": scene("location_1", "2.0"),
    "scene_00005": scene("location_1", "3.0", "3.5", sweeps=("3.2",)),
}
BY_REGION = {
    "scene_00000": scene("location_1", "1.0"),
    "scene_00001": scene("location_2", "2.0"),
    "scene_00002": scene("location_3", "3.0"),
    "scene_00003": scene("location_4_5", "4.0"),
    "scene_00004": scene("location_6", "5.0"),
}


def test_official_split_is_whole_and_does_not_overlap():
    official = splits.official_split()
    assert {split: len(ids) for split, ids in official.items()} == {
        "train": 350,
        "val": 46,
        "test": 65,
    }
    splits.check_disjoint(official)


@pytest.mark.parametrize(("split", "stems"), [("train", "1.0"), ("val", "2.0")])
def test_official_scenes_come_first_of_the_two(tmp_path, split, stems):
    frames = splits.split_frames(tmp_path, split, "auto", BY_ID)
    assert (frames.stems, frames.source) == ((stems,), "official")


def test_sweeps_are_no_samples(tmp_path):
    assert splits.split_frames(tmp_path, "test", "auto", BY_ID).stems == ("3.0", "3.5")


def test_region_where_the_official_split_would_be_empty_somewhere(tmp_path):
    frames = splits.split_frames(tmp_path, "train", "auto", BY_REGION)
    assert (frames.stems, frames.source) == (("1.0", "2.0", "3.0"), "region")
    assert splits.split_frames(tmp_path, "val", "auto", BY_REGION).stems == ("4.0",)
    assert splits.split_frames(tmp_path, "test", "auto", BY_REGION).stems == ("5.0",)


def test_region_where_a_scene_has_no_official_id(tmp_path):
    scenes = {**BY_REGION, "scene_99999": scene("location_6", "6.0")}
    assert splits.split_frames(tmp_path, "test", "auto", scenes).stems == ("5.0", "6.0")


def test_the_source_can_be_forced(tmp_path):
    frames = splits.split_frames(tmp_path, "test", "region", BY_ID)
    assert (frames.stems, frames.source) == (("1.0",), "region")
    write_lists(tmp_path, train=["7.0"])
    assert splits.split_frames(tmp_path, "train", "official", BY_ID).stems == ("1.0",)


def test_lists_come_first(tmp_path):
    write_lists(tmp_path, train=["8.0", "7.0"], val=["9.0"])
    frames = splits.split_frames(tmp_path, "train", "auto", BY_ID)
    assert (frames.stems, frames.source) == (("8.0", "7.0"), "lists")
    assert splits.split_frames(tmp_path, "val", "auto", {}).stems == ("9.0",)


def test_a_missing_list_is_rejected(tmp_path):
    write_lists(tmp_path, train=["8.0"])
    with pytest.raises(FileNotFoundError, match=r"has lists for \['train'\] .*expected test\.txt"):
        splits.split_frames(tmp_path, "test", "auto", {})
    (tmp_path / "imagesets/train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no lists in imagesets/, expected val\.txt"):
        splits.split_frames(tmp_path, "val", "lists", {})


def test_nothing_to_split_by_is_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has neither lists nor scenes .* split 'all'"):
        splits.split_frames(tmp_path, "test", "auto", {})


@pytest.mark.parametrize(
    ("split", "source", "message"),
    [
        ("trian", "auto", "unknown split 'trian'; known: .*train.*and 'all'"),
        ("train", "frames", "unknown split_source 'frames'; known:"),
    ],
)
def test_unknown_names_are_rejected(tmp_path, split, source, message):
    with pytest.raises(ValueError, match=message):
        splits.split_frames(tmp_path, split, source, BY_ID)


def test_scenes_of_no_split_are_rejected(tmp_path):
    scenes = {"drive_1": scene("quarry", "1.0")}
    with pytest.raises(ValueError, match=r"'drive_1' \(location 'quarry'\).*no split by locat"):
        splits.split_frames(tmp_path, "train", "auto", scenes)
    with pytest.raises(ValueError, match=r"'drive_1'.*no split by scene id.*Write imagesets/"):
        splits.split_frames(tmp_path, "train", "official", scenes)


def test_empty_split_is_rejected(tmp_path):
    scenes = {"scene_00000": scene("location_1", "1.0")}
    with pytest.raises(ValueError, match=r"the split 'val' of '.*' \(region\) is empty"):
        splits.split_frames(tmp_path, "val", "auto", scenes)
    write_lists(tmp_path, train=["1.0"], val=[])
    assert splits.split_frames(tmp_path, "train", "auto", {}).stems == ("1.0",)
    with pytest.raises(ValueError, match=r"the split 'val' of '.*' \(lists\) is empty"):
        splits.split_frames(tmp_path, "val", "auto", {})


def test_all_splits_are_those_with_frames(tmp_path):
    scenes = {"scene_00000": scene("location_1", "1.0"), "scene_00003": scene("location_4_5", "4")}
    by_region = splits.all_splits(tmp_path, "region", scenes)
    assert {name: frames.stems for name, frames in by_region.items()} == {
        "train": ("1.0",),
        "val": ("4",),
    }
    write_lists(tmp_path, train=["1.0"], test=[])  # And no val.txt.
    assert splits.all_splits(tmp_path, "auto", scenes) == {
        "train": splits.SplitFrames(("1.0",), "lists")
    }
    write_lists(tmp_path, train=[])
    with pytest.raises(ValueError, match=r"every split of '.*' \(lists\) is empty"):
        splits.all_splits(tmp_path, "auto", scenes)


def test_overlapping_splits_are_rejected_whichever_is_asked_for(tmp_path):
    write_lists(tmp_path, train=["1.0", "2.0"], val=["3.0"], test=["2.0", "4.0"])
    for split in splits.SPLITS:
        with pytest.raises(ValueError, match=r"'train' and 'test' share 1 frames \(2\.0\): scores"):
            splits.split_frames(tmp_path, split, "auto", {})


def test_scenes_that_share_a_frame_across_splits_are_rejected(tmp_path):
    scenes = {**BY_ID, "scene_00001": scene("location_1", "2.0")}
    with pytest.raises(ValueError, match="'train' and 'val' share 1 frames"):
        splits.split_frames(tmp_path, "test", "official", scenes)


def test_a_frame_named_twice_is_rejected(tmp_path):
    write_lists(tmp_path, train=["1.0", "2.0", "1.0"])
    with pytest.raises(ValueError, match=r"1 frames are listed twice in 'train': 1\.0"):
        splits.split_frames(tmp_path, "train", "auto", {})


def test_lists_that_cut_a_scene_are_warned_of(tmp_path):
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        write_lists(tmp_path, train=["1.0", "3.0"], val=["3.5"])
        splits.split_frames(tmp_path, "train", "auto", BY_ID)
        assert "'train' and 'val' have frames of the same 1 scenes" in records[0].getMessage()
        records.clear()
        write_lists(tmp_path, train=["1.0", "3.0"], val=["2.0"])
        splits.split_frames(tmp_path, "train", "auto", BY_ID)
        assert not records
    finally:
        logger.removeHandler(handler)


def test_scenes_are_read_where_they_are_there(tmp_path):
    assert splits.load_scenes(tmp_path) == {}
    folder = tmp_path / "imagesets"
    folder.mkdir()
    entry = {"location": "location_1", "samples": ["1.0"], "sweeps": ["1.1"]}
    (folder / "scene_info.json").write_text(json.dumps({"clip_00000": entry}))
    scenes = splits.load_scenes(tmp_path)
    assert scenes == {"clip_00000": Scene("location_1", ("1.0",), ("1.1",))}
    assert splits.scene_of_stem(scenes) == {"1.0": "clip_00000", "1.1": "clip_00000"}


def test_frames_by_scene_are_in_the_order_of_time():
    scene_of = {"10.0": "a", "9.5": "a", "1.0": "b"}
    assert splits.frames_by_scene(scene_of) == {"a": ["9.5", "10.0"], "b": ["1.0"]}


def test_sweeps_of_frames():
    scene_of = dict.fromkeys(["9.5", "10.0", "10.25", "10.5"], "a") | {"1.0": "b"}
    assert splits.sweeps_of_frames(["10.5", "9.5", "1.0"], scene_of, 3) == {
        "10.5": ["10.5", "10.25", "10.0"],
        "9.5": ["9.5"],
        "1.0": ["1.0"],
    }


def test_sweeps_of_frames_without_a_scene_are_rejected():
    with pytest.raises(
        ValueError, match=r"num_sweeps=3 needs .*1 frames are in no .*scene_info.json"
    ):
        splits.sweeps_of_frames(["1.0", "2.0"], {"1.0": "a"}, 3)
