"""Training without labels, on both data sets, whose label folders do not exist."""

import json
import logging
import shutil

import cv2
import numpy as np
import pytest
import torch

import eval_iou
import train
from dataset.nuscenes import labels as nuscenes_labels
from dataset.rellis3d import layout
from dataset.sample import collate
from engine.build.build import balance_classes, build_dataset, build_model
from engine.evaluation.occupancy import build_evaluation
from tests.layout_files import GROUND_Z_M, write_tiny_unscenes3d
from tests.novel_depth_config import write_config
from tests.nuscenes_files import write_tiny_nuscenes
from tests.rellis3d_config import write_rellis_config
from tests.rellis3d_files import write_tiny_rellis
from utils.config import load_config
from utils.geometry import project_points
from utils.labels import RELLIS3D

LIDAR = {
    "model.loss.supervision": "lidar",
    "model.loss.label_free": dict(sources=2, rays=300, proposals=8, depths_m=(3.0, 40.0)),
}


@pytest.fixture(scope="module")
def unscenes3d(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unscenes3d")
    write_tiny_unscenes3d(folder / "data", labels=False)
    return write_config(folder, "unscenes3d", folder / "data")


@pytest.fixture(scope="module")
def nuscenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuscenes")
    write_tiny_nuscenes(folder / "data")
    for labels in ("gts", "surroundocc", "openoccupancy"):
        shutil.rmtree(folder / labels, ignore_errors=True)
    return write_config(folder, "nuscenes", folder / "data")


def load(path, **options):
    cfg = load_config(path)
    options = {key.replace("__", "."): value for key, value in options.items()}
    cfg.merge_from_dict({**LIDAR, **options})
    return cfg


TERMS = {
    "lidar": {"loss_lidar_rays", "loss_unexplained_occupancy"},
    "video": {"loss_matched_columns"},
    "both": {"loss_lidar_rays", "loss_matched_columns", "loss_unexplained_occupancy"},
}


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
@pytest.mark.parametrize("supervision", ["lidar", "video", "both"])
@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_training_opens_no_label(data, modality, supervision, request):
    options = dict(modality=modality, model__loss__class_counts=None)
    options["model__loss__supervision"] = supervision
    cfg = load(request.getfixturevalue(data), **options)
    frames = build_dataset(cfg, "train", training=True)
    batch = collate([frames[0]])
    assert batch.occupancy is batch.depth_m is None
    assert (batch.lidar_rays is None) == (supervision == "video")
    assert (batch.video is None) == (supervision == "lidar")
    network = build_model(cfg)
    losses = network.losses(batch)
    depth = {"loss_depth"} if modality != "lidar" else set()
    assert set(losses) == TERMS[supervision] | depth
    sum(losses.values()).backward()
    assert network.head.classify.weight.grad.abs().sum() > 0
    prediction = network.eval().predict(batch)[0]
    assert prediction.occupancy.shape == network.grid.shape


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
def test_rays_of_all_sources_end_on_the_same_surfaces(data, request):
    cfg = load(request.getfixturevalue(data))
    rays = build_dataset(cfg, "train", training=True)[0].lidar_rays
    assert 0 < rays.is_own.float().mean() < 1
    ground_m = GROUND_Z_M if data == "unscenes3d" else 0.0
    for is_of in (rays.is_own, ~rays.is_own):
        heights_m = rays.ends_m[is_of, 2]
        on_ground = (heights_m - ground_m).abs() < 0.1
        assert on_ground.float().mean() > 0.2
        assert (heights_m > ground_m - 0.2).all()


def test_rays_are_augmented_like_the_points(unscenes3d):
    flips = dict(volume_flip_prob=1.0, volume_rotation_deg=9.0)
    options = dict(model__loss__label_free=dict(sources=1, rays=4000))
    plain_cfg, moved_cfg = load(unscenes3d, **options), load(unscenes3d, **options)
    moved_cfg.augmentation = flips
    one = build_dataset(plain_cfg, "train", training=True, seed=1)[0]
    moved = build_dataset(moved_cfg, "train", training=True, seed=1)[0]
    assert not np.allclose(one.points[:, :3], moved.points[:, :3])
    for sample in (one, moved):
        ends_m = sample.lidar_rays.ends_m[sample.lidar_rays.is_own]
        distance_m = torch.cdist(ends_m[:200].double(), sample.points[:, :3].double())
        assert distance_m.min(dim=1).values.max() < 1e-3
        pixels, _ = project_points(sample.pixel_from_lidar[0], ends_m)
        assert pixels.isfinite().all()


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
def test_projections_of_the_video_go_through_the_world(data, request):
    cfg = load(request.getfixturevalue(data), model__loss__supervision="both")
    sample = build_dataset(cfg, "train", training=True)[0]
    assert torch.equal(sample.video.images[0], sample.images)
    torch.testing.assert_close(sample.video.pixel_from_lidar[0], sample.pixel_from_lidar)
    # Both vehicles drive ahead: the next frame's front camera is nearer to what is ahead.
    ahead = torch.tensor([[20.0, 0.0, 0.0]])
    _, depth_m = project_points(sample.video.pixel_from_lidar[:2, 0], ahead.expand(2, -1, -1))
    assert depth_m[1] < depth_m[0] - 0.5


def test_a_scene_with_too_few_frames_has_images_that_see_nothing(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", labels=False, frames=1, sweeps=1)
    cfg = load(
        write_config(tmp_path, "unscenes3d", tmp_path / "data"), model__loss__supervision="video"
    )
    video = build_dataset(cfg, "train", training=True)[0].video
    assert video.pixel_from_lidar[:2].any(dim=(1, 2, 3)).all()
    assert not video.pixel_from_lidar[2].any()
    assert not video.images[2].any()


def test_poses_are_required_before_training(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", labels=False)
    shutil.rmtree(tmp_path / "data" / "vehicle_infos")
    cfg = load(write_config(tmp_path, "unscenes3d", tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match="vehicle_infos"):
        build_dataset(cfg, "train", training=True)


def test_neighboring_frames_are_required_before_training(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", labels=False, frames=1, sweeps=0)
    cfg = load(write_config(tmp_path, "unscenes3d", tmp_path / "data"))
    with pytest.raises(ValueError, match="has only one frame"):
        build_dataset(cfg, "train", training=True)


def test_frames_without_labels_are_sources(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", labels=False, frames=1, sweeps=2)
    cfg = load(write_config(tmp_path, "unscenes3d", tmp_path / "data"))
    frames = build_dataset(cfg, "train", training=True)
    assert len(frames) == 1
    assert frames[0].lidar_rays.origins_m.unique(dim=0).shape[0] == 3


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
def test_sources_can_be_spaced(data, request):
    path = request.getfixturevalue(data)

    def origins(spacing_m):
        options = dict(sources=1, rays=2000, spacing_m=spacing_m)
        cfg = load(path, model__loss__label_free=options)
        rays = build_dataset(cfg, "train", training=True)[0].lidar_rays
        return rays.origins_m[~rays.is_own].norm(dim=1).mean().item()

    assert origins(1.5 * origins(0.0)) >= 1.4 * origins(0.0)
    with pytest.raises(ValueError, match="no frame is 1000 m from another"):
        origins(1000.0)
    with pytest.raises(ValueError, match="spacing_m of at least 0, got -1"):
        origins(-1.0)


def test_nothing_is_counted_or_repeated_by_labels(unscenes3d):
    cfg = load(unscenes3d, model__loss__class_counts="from_data")
    assert balance_classes(cfg).model.loss.class_counts is None
    cfg.schedule.repeat_threshold = 0.1
    with pytest.raises(ValueError, match=r"repeat_threshold=0.1 needs labels"):
        build_dataset(cfg, "train", training=True)


def test_an_unknown_supervision_is_rejected(unscenes3d):
    with pytest.raises(ValueError, match=r"loss.supervision must be one of .*, got 'sonar'"):
        build_model(load(unscenes3d, model__loss__supervision="sonar"))
    with pytest.raises(ValueError, match="positive sources, rays and pixels, got 0, 10 and 2"):
        build_dataset(
            load(unscenes3d, model__loss__label_free=dict(sources=0, rays=10)),
            "train",
            training=True,
        )


def test_it_trains_without_labels_and_is_scored_by_those_of_validation(tmp_path, caplog):
    stems = write_tiny_unscenes3d(tmp_path / "data")
    config = write_config(tmp_path, "unscenes3d", tmp_path / "data")
    with config.open("a") as file:
        given = dict(sources=2, rays=300, point_labels="labels")
        file.write(
            f"model['loss'] |= dict(supervision='lidar', label_free={given})\n"
            "modality = 'lidar'\n"
            "schedule |= dict(epochs=8, val_interval=8, lr=1e-2)\n"
            "runtime |= dict(log_interval=1)\n"
        )
    for stem in stems[:2]:  # Those of the training split.
        (tmp_path / "data" / "occ" / f"{stem}.npy").unlink()
        (tmp_path / "data" / "depths" / f"{stem}.png").unlink()
    unlabeled = load(config, model__loss__label_free__point_labels=None)
    frames = build_dataset(unlabeled, "train", training=True)
    assert len(list(write_point_labels(frames, "unscenes3d"))) == 4
    out = tmp_path / "out"
    words = f"--py-config {config} --work-dir {out} --depth-metric"
    with caplog.at_level(logging.WARNING):
        train.main(train.parse_arguments(words.split()))
        weights = out / "model_state_dict.pth"
        words = f"--work-dir {out} --resume-from {weights} --json {out / 'scores.json'}"
        eval_iou.main(eval_iou.parse_arguments(words.split()))
    scores = json.loads((out / "scores.json").read_text())
    assert 0 <= scores["iou"] <= 1
    assert "trained without labels" not in caplog.text
    curves = min(out.glob("*/vis_data/scalars.json"))  # The other is of the scoring.
    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    logged = {name: value for line in lines for name, value in line.items()}
    classes = [line["loss_point_classes"] for line in lines if "loss_point_classes" in line]
    assert classes[-1] < 0.7 * classes[0]
    assert logged["depth_abs_rel"] > 0
    assert 0 <= logged["miou"] <= 1


def test_scores_of_classes_that_nothing_taught_are_warned_of(tmp_path, caplog):
    write_tiny_unscenes3d(tmp_path / "data")
    cfg = load(write_config(tmp_path, "unscenes3d", tmp_path / "data"))
    args = eval_iou.parse_arguments(["--work-dir", str(tmp_path)])
    with caplog.at_level(logging.WARNING):
        build_evaluation(cfg, build_model(cfg), args)
    assert "trained without labels: IoU, precision and recall count" in caplog.text


def write_masks(frames, label, *, is_turned=False):
    """Masks of one label for all images of a data set, at half the scale."""
    for index in range(len(frames)):
        sizes = frames._recorded_sizes(index)
        for path, (height, width) in zip(frames._mask_paths(index), sizes, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = np.full((height // 2, width // 2), label, np.uint8)
            cv2.imwrite(str(path), mask.T if is_turned else mask)


@pytest.mark.parametrize("data", ["unscenes3d", "nuscenes"])
@pytest.mark.parametrize("modality", ["both", "lidar"])
def test_masks_teach_classes(data, modality, request, tmp_path):
    cfg = load(request.getfixturevalue(data), modality=modality)
    cfg.model.loss.label_free["masks"] = str(tmp_path / "masks")
    with pytest.raises(FileNotFoundError, match=r"masks are missing.*label_free.masks to None"):
        build_dataset(cfg, "train", training=True)
    frames = build_dataset(load(request.getfixturevalue(data)), "train", training=True)
    frames._mask_folder = str(tmp_path / "masks")
    write_masks(frames, 3)
    batch = collate([build_dataset(cfg, "train", training=True)[0]])
    assert batch.masks.labels.unique().tolist() == [3]
    network = build_model(cfg)
    losses = network.losses(batch)
    losses["loss_mask_classes"].backward()
    bias = network.head.classify.bias.grad
    assert bias[3] < 0
    assert bias[[1, 2]].amin() > 0
    assert abs(bias[0]) < 1e-6  # Where something is is not learned from masks.


def test_a_mask_that_does_not_fit_its_image_is_rejected(unscenes3d, tmp_path):
    cfg = load(unscenes3d)
    cfg.model.loss.label_free["masks"] = str(tmp_path)
    frames = build_dataset(load(unscenes3d), "train", training=True)
    frames._mask_folder = str(tmp_path)
    write_masks(frames, 77)
    masked = build_dataset(cfg, "train", training=True)
    with pytest.raises(ValueError, match=r"expected labels below 12, or 255, found label 77"):
        masked[0]
    write_masks(frames, 3, is_turned=True)
    with pytest.raises(ValueError, match=r"proportions of the image, 96×60 as .*, found 30×48"):
        masked[0]


POINT_IDS = {name: number for number, name in nuscenes_labels.POINT_CLASSES.items()}
"""A number of the LiDAR segmentation for each class of nuScenes."""


def write_point_labels(frames, data, change=lambda classes: classes):
    """The classes of all clouds, which the tiny data sets have as a tenth of the intensity."""
    columns = 5 if data == "nuscenes" else 4
    for source in {source for nearby in frames._sources for source in nearby}:
        path = frames._point_label_path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        if data == "nuscenes":
            cloud = frames._frames.path(frames._frames.lidar(frames._rows[source]))
        else:
            cloud = frames._path("clouds", source)
        classes = np.fromfile(cloud, "<f4").reshape(-1, columns)[:, 3] // 10
        numbers = [POINT_IDS.get(c, 0) for c in classes] if data == "nuscenes" else classes
        change(np.array(numbers)).astype(frames.point_label_dtype).tofile(path)
        yield path


@pytest.fixture
def with_points(request, tmp_path):
    """The config of a data set with point labels in a folder of its own, and their files."""

    def build(data, change=lambda classes: classes, **options):
        cfg = load(request.getfixturevalue(data), **options)
        frames = build_dataset(cfg, "train", training=True)
        frames._point_label_folder = str(tmp_path / "points")
        files = list(write_point_labels(frames, data, change))
        cfg.model.loss.label_free["point_labels"] = str(tmp_path / "points")
        return cfg, files

    return build


@pytest.mark.parametrize(("data", "supervision"), [("unscenes3d", "video"), ("nuscenes", "lidar")])
def test_labeled_points_teach_classes(data, supervision, with_points):
    modality = "lidar" if supervision == "lidar" else "camera"
    cfg, _ = with_points(data, modality=modality, model__loss__supervision=supervision)
    batch = collate([build_dataset(cfg, "train", training=True)[0]])
    expected = {2, 10, 11} if data == "unscenes3d" else {3, 4, 11, 15, 16}
    assert set(batch.voxel_classes.unique().tolist()) == {0} | expected
    if supervision == "lidar":
        assert batch.lidar_rays.has_point[batch.voxel_classes > 0].all()
    network = build_model(cfg)
    network.losses(batch)["loss_point_classes"].backward()
    bias = network.head.classify.bias.grad
    assert bias[11] < 0  # The ground is what most voxels with points are.
    assert bias[1] > 0
    assert abs(bias[0]) < 1e-6  # Where something is is not learned from point labels.


def test_neighbors_count_as_far_as_they_have_point_labels(with_points):
    cfg, files = with_points("unscenes3d")
    frames = build_dataset(cfg, "train", training=True)
    others = [file for file in files if file.stem not in frames.stems]
    assert others
    for file in others:
        (np.fromfile(file, "<u4") * 0 + 7).tofile(file)
    assert 7 in frames[0].voxel_classes
    for file in others:
        file.unlink()
    assert 7 not in build_dataset(cfg, "train", training=True)[0].voxel_classes
    for file in set(files) - set(others):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 2 files of point labels are missing: .*"):
        build_dataset(cfg, "train", training=True)


def test_point_labels_are_augmented_like_the_points(with_points):
    cfg, _ = with_points("unscenes3d", model__loss__label_free=dict(sources=1, rays=4000))
    cfg.augmentation = dict(volume_flip_prob=1.0, volume_rotation_deg=0.0)
    sample = build_dataset(cfg, "train", training=True)[0]
    wall = (sample.voxel_classes == 10).nonzero()[:, 1]
    assert len(wall) > 3
    assert (wall < sample.voxel_classes.shape[1] // 2).all()  # It is on the left as recorded.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda classes: classes[:-1], "expected a uint32 for each of the"),
        (lambda classes: classes + 70, r"expected the classes of the data set .*, found 72"),
    ],
)
def test_wrong_point_labels_are_refused(change, message, with_points):
    cfg, _ = with_points("unscenes3d", change)
    with pytest.raises(ValueError, match=rf"points/.*\.label: {message}"):
        build_dataset(cfg, "train", training=True)[0]


def test_a_file_says_what_the_point_labels_are(with_points, tmp_path):
    cfg, _ = with_points("unscenes3d", lambda classes: classes + 70)
    mapping = tmp_path / "mapping.json"
    names = {"72": "truck", "80": "drop", "81": "unknown"}
    mapping.write_text(json.dumps({"point_labels": names}))
    cfg.model.loss.label_free["point_mapping"] = str(mapping)
    sample = build_dataset(cfg, "train", training=True)[0]
    assert sample.voxel_classes.unique().tolist() == [0, 2]
    dropped = (sample.lidar_rays.ends_m[:, 1] > 7.9) & (sample.lidar_rays.ends_m[:, 2] > -2)
    assert not dropped.any()
    cfg.model.loss.label_free["point_labels"] = None
    with pytest.raises(ValueError, match=r"point_mapping='.*set point_labels to their folder"):
        build_dataset(cfg, "train", training=True)


def test_rellis_3d_has_point_labels_of_its_own(tmp_path):
    tiny = write_tiny_rellis(tmp_path / "data", sequences=("00000",))
    shutil.rmtree(tiny.labels_root)
    cfg = load(write_rellis_config(tmp_path / "config.py", tiny.root), modality="lidar")
    cfg.model.loss.label_free["point_labels"] = layout.POINT_LABELS
    sample = build_dataset(cfg, "train", training=True)[0]
    names = [RELLIS3D.class_names[n] for n in sample.voxel_classes.unique().tolist()]
    assert names[0] == "free"
    assert {"grass", "bush", "tree"} <= set(names)
    assert build_model(cfg).losses(collate([sample]))["loss_point_classes"] > 0


def test_two_sequences_do_not_share_a_folder_of_point_labels(tmp_path):
    tiny = write_tiny_rellis(tmp_path / "data", sequences=("00000", "00001"))
    shutil.rmtree(tiny.labels_root)
    cfg = load(write_rellis_config(tmp_path / "config.py", tiny.root), modality="lidar")
    folder = tiny.root / "00000" / layout.POINT_LABELS
    cfg.model.loss.label_free["point_labels"] = str(folder)
    with pytest.raises(
        ValueError, match=rf"several frames each, such as {folder}/.*point_labels m"
    ):
        build_dataset(cfg, "train", training=True)
