"""tools/make_labels.py and tools/check_labels.py: from recordings to a data set that trains."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import train
from dataset import formats, layout
from dataset.check.run import check_dataset
from dataset.labeling.make import INFO_FILE, LabelJob, make_labels
from dataset.labeling.options import LabelOptions
from dataset.poses import LidarPoses
from dataset.scene_files import read_stem_list
from dataset.splits import load_scenes
from engine.label_options import setting
from tests.labeling_drive import LIDAR_HEIGHT_M, SPEED_MPS, write_drive
from tools import check_labels
from tools import make_labels as tool

FAST = ["range_m=40", "key_every_s=0.3"]
OPTIONS = LabelOptions(range_m=40.0, key_every_s=0.3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    write_drive(root / "first", frames=6)
    write_drive(root / "second", frames=3, start_s=5_000.0)
    return root


@pytest.fixture(scope="module")
def labeled(recordings):
    words = [str(recordings / "first"), "--val", str(recordings / "second")]
    out = recordings / "out"
    tool.main(tool.parse_arguments([*words, "--out", str(out), "--workers", "1", "--set", *FAST]))
    return out


def _job(folder, out, **changes):
    values = dict(
        recordings={"train": [folder / "first"], "val": [folder / "second"]},
        out=out,
        options=OPTIONS,
    )
    return LabelJob(**(values | changes))


def _digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".labels" not in path.parts
    }


def test_the_data_set_is_complete_and_passes_its_check(labeled):
    report = check_dataset(labeled, workers=1, progress=False)
    assert report.is_sound, report.findings
    scenes = load_scenes(labeled)
    assert [len(scene.samples) for scene in scenes.values()] == [2, 1]
    assert [len(scene.sweeps) for scene in scenes.values()] == [4, 2]
    assert [scene.location for scene in scenes.values()] == ["first", "second"]
    lists = {
        split: read_stem_list(labeled / "imagesets" / f"{split}.txt")
        for split in ("train", "val", "test")
    }
    assert [len(stems) for stems in lists.values()] == [2, 1, 0]
    info = json.loads((labeled / INFO_FILE).read_text())
    assert info["pseudo"]["is_pseudo"]
    assert info["voxels"]["driveable_surface"] > 1000


def test_poses_and_motion_are_those_of_the_recording(labeled):
    scenes = load_scenes(labeled)
    frames = {name: [*scene.samples, *scene.sweeps] for name, scene in scenes.items()}
    poses = LidarPoses(labeled, "auto", frames)
    stem = scenes["scene_00000"].samples[1]
    pose = poses.world_from_lidar(stem, "scene_00000")
    assert pose[:3, 3] == pytest.approx([500_000 + 0.3 * SPEED_MPS, 0, LIDAR_HEIGHT_M], abs=1e-5)
    info = formats.read_vehicle_info(labeled / layout.relative_path(layout.VEHICLE_INFOS, stem))
    assert info.state.velocity_mps == pytest.approx((SPEED_MPS, 0, 0), abs=1e-3)


def test_masks_say_what_was_observed(labeled):
    stem = load_scenes(labeled)["scene_00000"].samples[0]
    masks = np.load(labeled / "visibility" / f"{stem}.npz")
    rows = formats.read_occupancy_rows(labeled / layout.relative_path(layout.OCCUPANCY, stem))
    occupancy = formats.occupancy_from_rows(rows)
    assert ((occupancy != 255) == masks["mask_lidar"]).all()
    assert masks["mask_camera"].any()
    assert not (masks["mask_camera"] & ~masks["mask_lidar"]).any()


def test_shards_write_the_same_bytes_and_finish_together(recordings, labeled):
    out = recordings / "shards"
    job = _job(recordings, out)
    assert make_labels(job, workers=1, shard=(0, 2), progress=False) == 1
    assert not (out / "imagesets").exists()
    assert make_labels(job, workers=1, shard=(1, 2), progress=False) == 0
    assert _digests(out) == _digests(labeled)


def test_a_run_resumes_and_refuses_other_settings(recordings, labeled):
    note = labeled / ".labels" / "clip_00000.json"
    before = _digests(labeled)
    untouched = note.stat().st_mtime_ns
    assert make_labels(_job(recordings, labeled), workers=1, progress=False) == 0
    assert note.stat().st_mtime_ns == untouched
    assert _digests(labeled) == before
    with pytest.raises(ValueError, match="found another 'options'"):
        make_labels(_job(recordings, labeled, options=LabelOptions()), progress=False)


def test_a_folder_with_something_else_is_refused(recordings, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"found notes\.txt: choose another folder"):
        make_labels(_job(recordings, tmp_path), progress=False)


def test_a_recording_twice_and_labels_without_a_mapping_are_refused(recordings, tmp_path):
    twice = {"train": [recordings / "first"], "val": [recordings / "first"]}
    with pytest.raises(ValueError, match="expected stems that no other recording has"):
        make_labels(_job(recordings, tmp_path / "a", recordings=twice), progress=False)
    write_drive(tmp_path / "drive", frames=1)
    (tmp_path / "drive" / "labels").mkdir()
    job = _job(recordings, tmp_path / "b", recordings={"train": [tmp_path / "drive"]})
    with pytest.raises(ValueError, match="point labels mean, found none: state it with --mapping"):
        make_labels(job, progress=False)


def test_a_network_trains_on_the_labels(labeled, tmp_path):
    config = tmp_path / "tiny.py"
    base = Path(__file__).parents[1] / "config/minesim/minesim_occ.py"
    config.write_text(
        f'_base_ = "{base}"\n'
        "grid = dict(voxel_m=2.4, shape=(32, 32, 4))\n"
        "dataset = dict(image_size=(32, 64))\n"
        "model = dict(parts=dict(decoder=dict(channels=(32, 64))))\n"
        "schedule = dict(epochs=1)\n"
    )
    words = ["--py-config", str(config), "--work-dir", str(tmp_path / "run")]
    words += ["--data-root", str(labeled)]
    train.main(train.parse_arguments(words))
    assert list((tmp_path / "run").rglob("*.pth"))


def test_labels_are_scored_against_held_out_clouds(recordings, capsys):
    words = [str(recordings / "first"), "--hold-out", "6", "--set", *FAST]
    check_labels.main(check_labels.parse_arguments(words))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(recordings / "first")
    assert 1 < float(lines[1].split()[-2]) < 20  # Observed.
    assert "held-out points in occupied or unobserved voxels" in lines[2]
    assert float(lines[2].split()[-2]) > 80  # Of one cloud; the rest hits what drove by.


def test_settings_have_the_type_of_the_option():
    assert setting("remove_movers=false") == ("remove_movers", False)
    assert setting("rays=100") == ("rays", 100)
    assert setting("vehicle_m=-2,1,-1,1,-3,0") == ("vehicle_m", (-2.0, 1.0, -1.0, 1.0, -3.0, 0.0))
    for text in ("rays=many", "vehicle_m=1,2", "remove_movers=perhaps"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a value like"):
            setting(text)
    with pytest.raises(argparse.ArgumentTypeError, match="unknown option 'ray'"):
        setting("ray=1")


@pytest.mark.parametrize("text", ["2/2", "1", "a/2", "1/0"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected I/N"):
        tool.shard(text)
