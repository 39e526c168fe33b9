import json
import logging
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import eval_depth
import eval_iou
import eval_novel_depth
import predict
import train
from dataset.arrays import InputOptions
from dataset.labeling.drive import read_drive
from dataset.lidar_depth import depth_of_points
from dataset.reading import Reading
from dataset.recorded_poses import read_poses, write_poses
from dataset.recording import Recording
from dataset.recordings.dataset import Recordings
from dataset.recordings.folders import Splits
from dataset.sample import Loss, collate
from tests.model_inputs import model_config
from tests.recording_files import (
    add_camera,
    change_calibration,
    copy_recording,
    write_recordings,
)
from tests.toy_training import SCHEDULE
from utils.geometry import VoxelGrid, project_points

GRID = VoxelGrid(origin_m=(0.0, -38.4, -4.0), voxel_m=2.4, shape=(32, 32, 4))
INPUTS = ("images", "points", "pixel_from_lidar")
LABEL_FREE = (*INPUTS, "lidar_rays", "video")
READING = Reading(
    GRID, LABEL_FREE, image_size=(30, 48), num_sources=2, num_rays=500, lidar_height_m=2.7
)
HEIGHT_M = 1.7
"""Height of the LiDAR of the tests' recordings, a meter below that of the network."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three recordings of 1.2 s, in a unit and at a height that are not the network's."""
    root = tmp_path_factory.mktemp("drives")
    write_recordings(root, frames=12, intensity_max=2.0, lidar_height_m=HEIGHT_M)
    return root


@pytest.fixture
def root(tmp_path, source):
    """A copy that may be changed."""
    return shutil.copytree(source, tmp_path / "drives")


def stems_of(recording):
    return sorted(path.stem for path in (recording / "clouds").iterdir())


def read(root, split="train", *, splits=None, options=None, **reading):
    return Recordings(
        root, split, replace(READING, **reading), splits or Splits(), **(options or {})
    )


# Splits.


def names(frames):
    return sorted({scene.split("/")[0] for scene in frames.scenes})


def test_training_takes_all_recordings_that_no_other_split_has(source, tmp_path):
    assert names(read(source)) == ["1", "2", "3"]
    one = Splits(val="3")
    assert names(read(source, splits=one)) == ["1", "2"]
    assert names(read(source, "val", splits=one)) == ["3"]
    named = Splits(train=["2"], val=["3"])
    assert names(read(source, splits=named)) == ["2"]
    elsewhere = copy_recording(source / "1", tmp_path / "far", 3)
    assert names(read(source, "test", splits=Splits(test=str(elsewhere)))) == ["far"]
    assert names(read(source / "2")) == ["2"]
    assert len(read(source, "all")) == 3 * len(stems_of(source / "1"))


def test_a_recording_is_in_one_split(root):
    with pytest.raises(ValueError, match=r"'.*/3' is listed twice, in dataset.train and val"):
        read(root, splits=Splits(train=["1", "3"], val=["3"]))
    with pytest.raises(ValueError, match=r"'.*/3' is listed twice, in dataset.val"):
        read(root, "val", splits=Splits(val=["3", "3"]))
    (root / "4").symlink_to(root / "3")
    with pytest.raises(ValueError, match=r"'.*/4' is listed twice, in dataset.train and val"):
        read(root, splits=Splits(train="3", val="4"))
    assert names(read(root, splits=Splits(val="4"))) == ["1", "2"]
    shutil.copytree(root / "1", root / "more" / "1")
    with pytest.raises(ValueError, match=r"have the same name.*rename one"):
        read(root, splits=Splits(train=["1", "more/1"]))


def test_copies_and_parts_of_a_recording_are_in_one_split(root):
    shutil.copytree(root / "1", root / "copy")
    first, second, *_ = sorted((root / "copy/clouds").iterdir())
    first.unlink()
    message = rf"'.*/1' in dataset.train and '.*/copy' in dataset.val have the same .*{second.name}"
    with pytest.raises(ValueError, match=message):
        read(root, splits=Splits(val="copy"))
    assert names(read(root, splits=Splits(train=["1", "copy"], val="2"))) == ["1", "copy"]
    shutil.rmtree(root / "copy/clouds")
    shutil.rmtree(root / "1/clouds")
    with pytest.raises(ValueError, match="have the same images/"):
        read(root, splits=Splits(train="1", val="copy"))


def test_names_differ_between_the_folder_and_elsewhere(root, tmp_path):
    elsewhere = copy_recording(root / "1", tmp_path / "more/1", 3)
    for split in ("train", "all"):
        with pytest.raises(ValueError, match=r"have the same name.*rename one"):
            read(root, split, splits=Splits(val=str(elsewhere)))
    with pytest.raises(ValueError, match=r"listed twice, in dataset.train and val"):
        read(root, splits=Splits(val=None))


def test_what_is_no_recording_is_said(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset.val: expected .*found '4'; there are 1"):
        read(source, splits=Splits(val="4"))
    with pytest.raises(ValueError, match=r"'val' of .* has no recording: choose from 1, 2, 3 with"):
        read(source, "val")
    with pytest.raises(ValueError, match=r"'train' of .* has no recording"):
        read(source, splits=Splits(val=["1", "2", "3"]))
    with pytest.raises(ValueError, match="unknown split 'vall'"):
        read(source, "vall")
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere' not found"):
        read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no recording: expected folders with clouds/"):
        read(tmp_path)


# Frames.


def test_frames_are_what_predictions_of_the_recording_read(source):
    frames = read(source, "all", fields=INPUTS)
    options = InputOptions((30, 48), max_range_m=110.0, lidar_height_m=2.7)
    recording = Recording(
        options,
        images=source / "1/images",
        clouds=source / "1/clouds",
        calibration=source / "1/calib.json",
    )
    assert frames.stems[: len(recording)] == [f"1-{stem}" for stem in recording.stems]
    for index in (0, 5):
        found, expected = frames[index], recording[index]
        for field in INPUTS:
            assert torch.equal(getattr(found, field), getattr(expected, field)), field
    assert found.points[:, 3].unique().tolist() == [0.25]


def test_poses_are_those_that_labels_are_made_with(source):
    frames = read(source, "all", fields=("points", "world_from_lidar"))
    drive = read_drive(source / "1")
    for index in (0, 7):
        found = frames[index].world_from_lidar.numpy()
        np.testing.assert_allclose(found, drive.world_from_lidar[index], atol=1e-9)


def test_recordings_may_have_the_same_stems_and_each_its_calibration(root):
    change_calibration(root / "2", lidar_height_m=2.7)
    frames = read(root, fields=INPUTS)
    assert len(set(frames.stems)) == len(frames)
    first, second = (frames[frames.stems.index(f"{n}-{stems_of(root / n)[0]}")] for n in "12")
    shift_m = (second.points - first.points)[:, 2]
    assert shift_m.min().item() == pytest.approx(shift_m.max().item())
    assert shift_m.mean().item() == pytest.approx(1.0, abs=1e-4)
    assert not torch.allclose(first.pixel_from_lidar, second.pixel_from_lidar)
    assert collate([first, second]).images.shape == (2, 1, 3, 30, 48)


def test_key_frames_are_apart_and_the_others_are_sources(source):
    frames = read(source / "1")
    stems = stems_of(source / "1")
    assert frames.stems == [f"1-{stems[number]}" for number in (0, 5, 10)]
    rays = frames[1].lidar_rays
    assert len(rays.origins_m.unique(dim=0)) == 3
    assert rays.origins_m[:, 0].abs().max() < 0.5  # The next frames, not the next key frames.
    assert len(read(source / "1", options=dict(key_every_s=0.0))) == 12
    between = f"1-{stems[3]}"
    assert read(source / "1", stems=[between]).stems == [between]
    with pytest.raises(ValueError, match="key_every_s must be 0 or above"):
        read(source, options=dict(key_every_s=-1.0))
    with pytest.raises(ValueError, match=r"dataset.vehicle_m: expected x, y and z, each from and"):
        read(source, options=dict(vehicle_m=(1.0, -2.5, -1.2, 1.2, -3.0, 0.3)))


def test_a_gap_in_time_ends_a_scene(root):
    recording = root / "1"
    poses = read_poses(recording / "poses.txt")
    for stem in stems_of(recording)[6:]:
        later = f"{float(stem) + 60:.3f}"
        poses[later] = poses.pop(stem)
        (recording / "clouds" / f"{stem}.bin").rename(recording / "clouds" / f"{later}.bin")
        (recording / "images" / f"{stem}.png").rename(recording / "images" / f"{later}.png")
    write_poses(recording / "poses.txt", poses)
    frames = read(recording, options=dict(key_every_s=0.0))
    assert frames.scenes == ["1/0"] * 6 + ["1/1"] * 6
    assert frames.neighbors(1)[5] == [4]
    assert frames.previous(6) is None
    assert frames.previous(7) == 6


# Fields.


def test_rays_begin_at_the_lidar_and_spare_your_own_vehicle(root):
    for path in (root / "1/clouds").iterdir():
        rows = np.fromfile(path, "<f4").reshape(-1, 4)
        hood = np.tile(np.float32([0.5, 0.0, -0.5, 0.5]), (50, 1))
        np.concatenate([rows, hood]).tofile(path)
    frames = read(root / "1")
    sample = frames[0]
    rays = sample.lidar_rays
    np.testing.assert_allclose(frames.lidar_position_m(0), (0, 0, HEIGHT_M - 2.7))
    own = rays.origins_m[rays.is_own].unique(dim=0)
    np.testing.assert_allclose(own, [[0, 0, HEIGHT_M - 2.7]], atol=1e-5)
    on_vehicle = sample.points[:, :2].norm(dim=1) < 1
    assert on_vehicle.sum() == 50
    assert (rays.ends_m[:, :2].norm(dim=1) > 1).all()
    # The road is 2.7 m below the LiDAR that wrote the files, whatever their calibration says.
    for is_of in (rays.is_own, ~rays.is_own):
        height_m = rays.ends_m[is_of, 2]
        assert ((height_m + 3.7).abs() < 0.05).float().mean() > 0.3


def test_the_video_projects_through_the_world(source):
    sample = read(source / "1")[1]
    assert torch.equal(sample.video.images[0], sample.images)
    torch.testing.assert_close(sample.video.pixel_from_lidar[0], sample.pixel_from_lidar)
    ahead = torch.tensor([[20.0, 0.0, 0.0]]).expand(3, -1, -1)
    _, depth_m = project_points(sample.video.pixel_from_lidar[:, 0], ahead)
    # Nearest in time first, of two equally near the earlier one: 0.4 m behind, then ahead.
    torch.testing.assert_close(depth_m[:, 0], torch.tensor([20.0, 20.4, 19.6]))


def test_depth_is_that_of_the_cloud(source):
    fields = ("images", "pixel_from_lidar", "points", "depth_m", "neighbors", "world_from_lidar")
    frames = read(source / "1", fields=fields, num_neighbors=1)
    sample = frames[0]
    matrix = sample.pixel_from_lidar[0].double().numpy()
    expected = depth_of_points(matrix, sample.points.numpy(), (30, 48))
    agrees = np.isclose(sample.depth_m[0].numpy(), expected, atol=1e-3)
    assert agrees.mean() > 0.98  # float32 moves a few points to the next pixel.
    assert (expected > 0).mean() > 0.2
    np.testing.assert_array_equal(sample.neighbors.depth_m[0], frames[1].depth_m)
    assert Recordings.measured_depth == "points"


def test_earlier_sweeps_lie_where_they_were(source):
    sample = read(source / "1", fields=("points",), num_sweeps=3, options=dict(key_every_s=0.1))[5]
    ages_s = sample.points[:, 4].unique()
    torch.testing.assert_close(ages_s, torch.tensor([0.0, 0.1, 0.2]))
    # The wall, which does not move, is cut off where the view of each sweep ends.
    walls = [
        sample.points[(sample.points[:, 4] == age) & (sample.points[:, 1] > 8)] for age in ages_s
    ]
    for wall in walls:
        assert (wall[:, 1] - 8.1).abs().min() < 0.01
    starts_m = [wall[:, 0].min() for wall in walls]
    assert starts_m[0] > starts_m[2]
    first = read(source / "1", fields=("points",), num_sweeps=3)[0]
    assert first.points[:, 4].unique().tolist() == [0.0]


def test_two_cameras_make_two_views(root):
    add_camera(root / "1")
    sample = read(root / "1", fields=(*LABEL_FREE, "depth_m"))[0]
    assert sample.images.shape == (2, 3, 30, 48)
    assert sample.video.images.shape == (3, 2, 3, 30, 48)
    assert sample.depth_m.shape == (2, 30, 48)
    assert read(root / "1").camera_names == ("front", "rear")
    with pytest.raises(ValueError, match=r"same number of cameras, found .*'rear'.*/2'"):
        read(root)
    assert len(read(root, fields=("points",))) == 9


def test_masks_lie_beside_the_images(root):
    add_camera(root / "2")
    with pytest.raises(FileNotFoundError, match="3 of 3 masks are missing"):
        read(root / "1", fields=(*INPUTS, "masks"))
    stem = stems_of(root / "1")[0]
    assert read(root / "1")._mask_paths(0) == [root / f"1/masks/{stem}.png"]
    both = read(root / "2")._mask_paths(0)
    assert both == [root / f"2/masks/{camera}/{stem}.png" for camera in ("front", "rear")]


def test_two_drives_do_not_share_a_folder_of_masks(root):
    folder = root / "1/masks"
    folder.mkdir()
    for stem in stems_of(root / "1"):
        (folder / f"{stem}.png").touch()
    with pytest.raises(ValueError, match=rf"several frames each, such as {folder}/.*masks must"):
        read(root, fields=(*INPUTS, "masks"), mask_folder=str(folder))


def test_points_have_labels_as_label_making_reads_them(root):
    with pytest.raises(FileNotFoundError, match="3 of 3 files of point labels are missing"):
        read(root / "1", fields=("points", "voxel_classes"))
    for path in (root / "1/clouds").iterdir():
        rows = np.fromfile(path, "<f4").reshape(-1, 4)
        hood = np.tile(np.float32([0.5, 0.0, -0.5, 0.5]), (50, 1))
        np.concatenate([hood, rows]).tofile(path)
        is_road = np.abs(rows[:, 2] + 2.7) < 0.05
        labels = np.concatenate([np.full(50, 7), np.where(is_road, 11, 0)]).astype("<u4")
        (root / "1/labels").mkdir(exist_ok=True)
        labels.tofile(root / f"1/labels/{path.stem}.label")
    classes = read(root / "1", fields=("points", "voxel_classes"))[0].voxel_classes
    assert classes.unique().tolist() == [0, 11]
    assert classes[..., 0].count_nonzero() == classes.count_nonzero() > 20  # At the bottom.


def test_fields_are_known_without_reading_them(source, root):
    assert Recordings.may_have(source, "images")
    assert not Recordings.may_have(source, "occupancy")
    frames = read(source / "1", fields=("points",))
    assert frames.stems_with("points") == frames.stems
    assert frames.stems_with("occupancy") == []
    for recording in root.iterdir():
        shutil.rmtree(recording / "images")
    assert not Recordings.may_have(root, "images")
    lidar = read(root, fields=("points", "lidar_rays"))[0]
    assert lidar.images is None


# What is missing.


def test_labels_are_refused(source):
    with pytest.raises(ValueError, match=r"have no labels \(occupancy\): make them with tools/mak"):
        read(source, fields=("occupancy", "points"))
    with pytest.raises(ValueError, match=r"augmentation.mix .* switch them off for recordings"):
        read(source, augmentation=dict(mix=dict(sector_prob=1.0)))


@pytest.mark.parametrize(
    ("missing", "fields", "message"),
    [
        ("poses.txt", LABEL_FREE, r"1/poses.txt not found: .*tools/estimate_poses.py"),
        ("images", (*INPUTS, "lidar_rays"), r"1/images not found: expected it for images, .*"
         r"modality=lidar and model.loss.supervision=lidar"),
        ("images", ("points", "video"), r"1/images not found: expected it for video"),
        ("clouds", ("images", "lidar_rays"), r"1/clouds not found: expected it for lidar_rays\. "
         r".*modality=camera and model.loss.supervision=video"),
        ("calib.json", LABEL_FREE, r"calibration .*1/calib.json not found"),
    ],
)  # fmt: skip
def test_what_a_recording_lacks_is_said_before_training(root, missing, fields, message):
    path = root / "1" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        read(root, fields=fields)


def test_video_alone_needs_no_cloud(root):
    shutil.rmtree(root / "1/clouds")
    sample = read(root / "1", fields=("images", "pixel_from_lidar", "video"))[0]
    assert sample.video.pixel_from_lidar[1].any()


def test_incomplete_frames_are_left_out_with_a_warning(root, caplog):
    stems = stems_of(root / "1")
    (root / "1/images" / f"{stems[0]}.png").unlink()
    (root / "1/clouds" / f"{stems[1]}.bin").unlink()
    lines = (root / "1/poses.txt").read_text().splitlines(keepends=True)
    (root / "1/poses.txt").write_text("".join(line for line in lines if stems[2] not in line))
    with caplog.at_level(logging.WARNING):
        frames = read(root / "1")
    assert frames.stems[0] == f"1-{stems[3]}"
    assert f"1 of 12 frames of '{root}/1' without a cloud ({stems[1]})" in caplog.text
    assert f"1 of 12 frames of '{root}/1' without an image ({stems[0]})" in caplog.text
    assert f"1 of 10 frames of '{root}/1' without a pose ({stems[2]})" in caplog.text
    for path in (root / "1/images").iterdir():
        path.rename(path.with_name(f"9{path.name}"))
    with pytest.raises(FileNotFoundError, match=r"without a cloud .*and none is complete"):
        read(root / "1")


def test_a_single_frame_has_no_neighbors(root, caplog):
    for folder, end in (("clouds", ".bin"), ("images", ".png")):
        for stem in stems_of(root / "1")[1:]:
            (root / "1" / folder / f"{stem}{end}").unlink(missing_ok=True)
    shutil.copytree(root / "2/images", root / "1/images", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="has only one frame"):
        read(root / "1")
    with caplog.at_level(logging.WARNING):
        assert not read(root)[0].video.pixel_from_lidar[1:].any()
    assert "1 of 7 frames have no other frame of their drive to learn from" in caplog.text


def test_a_lost_sensor_leaves_the_other(root):
    stems = stems_of(root / "1")
    (root / "1/images" / f"{stems[0]}.png").unlink()
    (root / "1/clouds" / f"{stems[1]}.bin").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 255, (60, 96, 3), np.uint8)
    cv2.imwrite(str(root / "1/images" / f"{stems[1]}.png"), noise)
    frames = read(root / "1", "all", fields=INPUTS, allow_missing=True)
    assert len(frames) == 12
    assert frames[0].lost == (Loss.NO_IMAGE,)
    assert frames[0].images is None
    assert frames[1].points is None
    assert frames[1].images is not None


# Training and scoring.


CONFIG = """
_base_ = ["{base}/_base_/recordings.py", "{base}/_base_/schedule.py", "{base}/_base_/runtime.py"]
data_root = "{root}"
grid = dict(voxel_m=2.4, shape=(32, 32, 4))
dataset = dict(val="3", key_every_s=0.7, image_size=(32, 64))
model = {model}
augmentation = None
schedule = dict(epochs=1, batch_size=2, lr=1e-3, ema_decay=0.0)
runtime = dict(num_workers=0, best_metric="depth_abs_rel")
"""


@pytest.fixture
def config(tmp_path, source):
    base = SCHEDULE.parents[1]
    model = {
        key: value
        for key, value in model_config().items()
        if key not in ("grid", "labels", "modality")
    }
    model["loss"] |= dict(
        supervision="both", label_free=dict(sources=2, rays=300, pixels=1, proposals=8)
    )
    path = tmp_path / "recordings.py"
    path.write_text(CONFIG.format(base=base, root=source, model=model))
    return path


def run(module, words):
    module.main(module.parse_arguments([str(word) for word in words]))


def test_it_trains_and_is_scored_by_depth_and_predicts_a_recording(config, tmp_path, source):
    out = tmp_path / "out"
    run(train, ["--py-config", config, "--work-dir", out, "--depth-metric"])
    best = json.loads((out / "best.json").read_text())
    assert best["metric"] == "depth_abs_rel"
    assert best["value"] > 0
    assert list(out.rglob("events.out.tfevents*"))
    weights = out / "model_state_dict.pth"
    own, novel = tmp_path / "own.json", tmp_path / "novel.json"
    run(eval_depth, ["--work-dir", out, "--json", own])
    run(eval_novel_depth, ["--work-dir", out, "--num-rays", 8, 16, "--json", novel])
    assert json.loads(own.read_text())["abs_rel"] > 0
    assert json.loads(novel.read_text())["frames"] == 2
    with pytest.raises(ValueError, match=r"have no labels \(occupancy\): make them with tools/mak"):
        run(eval_iou, ["--work-dir", out, "--resume-from", weights])
    recording = source / "3"
    folders = ("--images", recording / "images", "--clouds", recording / "clouds")
    predicted = tmp_path / "predicted"
    words = ["--resume-from", weights, "--out", predicted, *folders, "--limit", 2]
    run(predict, [*words, "--calib", recording / "calib.json"])
    assert len(list(predicted.rglob("*.npy"))) == 2


def test_validation_needs_something_to_score(config, tmp_path):
    words = ["--py-config", config, "--work-dir", tmp_path / "out", "--dry-run"]
    with pytest.raises(ValueError, match=r"Recordings have no labels .*--depth-metric, or set"):
        run(train, words)
    named = [*words, "--depth-metric", "--cfg-options", "runtime.best_metric=miou"]
    with pytest.raises(ValueError, match=r"best_metric must be one of .*'depth_abs_rel'.* 'miou'"):
        run(train, named)


def test_a_dry_run_counts_the_frames_of_both_splits(config, tmp_path, capsys):
    words = ["--py-config", config, "--work-dir", tmp_path / "out", "--dry-run", "--depth-metric"]
    run(train, words)
    assert "4 train, 2 val frames" in capsys.readouterr().err


def test_a_forgotten_list_is_told_how_to_be_typed(config, tmp_path):
    words = ["--py-config", config, "--work-dir", tmp_path, "--dry-run", "--cfg-options"]
    with pytest.raises(ValueError, match=r"put it in quotes: \"dataset.val=\['3'\]\""):
        run(train, [*words, "dataset.val=[3]"])
    with pytest.raises(ValueError, match=r"put it in quotes: \"dataset.val='3'\""):
        run(train, [*words, "dataset.val=3"])
