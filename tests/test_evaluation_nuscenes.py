import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_iou
import train
from dataset.nuscenes.dataset import NuScenes
from dataset.nuscenes.index import LIDAR
from dataset.nuscenes.labels import BENCHMARKS, read_occ3d, swap_free_and_others
from dataset.reading import Reading
from dataset.sample import Batch
from engine.evaluation.benchmark_frames import BenchmarkFrames
from engine.evaluation.label_grid_network import GridPrediction
from engine.evaluation.nuscenes import coarsen_batch
from engine.evaluation.nuscenes_grids import WITHOUT_OTHERS
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import occupancy_scores
from tests.nuscenes_config import TINY_GRID, write_nuscenes_config, write_painting_config
from tests.nuscenes_files import (
    ego_from_sensor,
    paint,
    token,
    world_from_ego,
    write_tiny_nuscenes,
)
from tools import score
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, NUSCENES

SCENE = "scene-0103"
OCC3D = BENCHMARKS["occ3d"].grid
SEED_TRAIN = (
    "python train.py --py-config config/nuscenes/nuscenes_occ.py"
    " --work-dir out/nuscenes/occ_train --depth-metric"
)
SEED_EVAL = (
    "python eval_iou.py --py-config config/nuscenes/nuscenes_occ.py --work-dir out/nuscenes/occ"
    " --resume-from out/nuscenes/occ/model_state_dict.pth"
    " --occ3d --resolution 0.4 --sem --use-mask --scene-size 4"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One key frame of the validation split, with the labels of Occ3D and of SurroundOcc."""
    root = tmp_path_factory.mktemp("tiny") / "nuscenes"
    return write_tiny(root, samples=1, benchmarks=("occ3d", "surroundocc"))


@pytest.fixture(scope="module")
def dataset(tiny):
    return NuScenes(tiny.root, "val", Reading(OCC3D, ["points"]))


def write_tiny(root, **options):
    """A data set of which the LiDAR alone is looked at."""
    return write_tiny_nuscenes(root, scenes=(SCENE,), sweeps=0, image_size=(9, 16), **options)


@pytest.fixture
def painted(tmp_path):
    """A function that writes volumes for PaintedVolume to predict, and its config."""

    def write(tiny, volumes, grid, **options):
        for stem, labels in volumes.items():
            np.save(tmp_path / f"{stem}.npy", np.where(labels == IGNORE, FREE, labels))
        return write_painting_config(tmp_path / "config.py", tiny.root, tmp_path, grid, **options)

    return write


def evaluate(config: Path, words: str) -> dict:
    file = config.with_name("scores.json")
    arguments = f"--py-config {config} --work-dir {config.parent} --json {file} {words}"
    eval_iou.main(eval_iou.parse_arguments(arguments.split()))
    return json.loads(file.read_text())


def labels_of(dataset, name="occ3d"):
    return {stem: dataset.labels(i, name).occupancy for i, stem in enumerate(dataset.stems)}


def scores_of(dataset, predictions, name="occ3d", *, use_mask=False):
    """What a benchmark's scores should be, from predictions on its grid."""
    labels = NUSCENES if name == "occ3d" else WITHOUT_OTHERS
    confusion = Confusion(labels.num_classes)
    for index, stem in enumerate(dataset.stems):
        truth = dataset.labels(index, name)
        mask = truth.mask_camera if use_mask else None
        confusion.update(predictions[stem], truth.occupancy, mask)
    return occupancy_scores(confusion, labels).to_json()


def assert_same(found, expected):
    for key in ("iou", "precision", "recall", "miou", "per_class_iou", "frames"):
        assert found[key] == pytest.approx(expected[key]), key


def shifted(labels, voxels):
    """The labels one or more voxels ahead; free behind."""
    moved = np.zeros_like(labels)
    moved[voxels:] = labels[:-voxels]
    return moved


# --- the label itself scores 100 ---


@pytest.mark.parametrize("mask", ["", "--use-mask"])
def test_occ3ds_label_scores_100(tiny, dataset, painted, mask, capsys):
    config = painted(tiny, labels_of(dataset), OCC3D)
    scores = evaluate(config, f"--occ3d --resolution 0.4 --scene-size 4 --sem --ray-iou {mask}")
    assert scores["iou"] == scores["miou"] == scores["rayiou"] == scores["rayiou@1"] == 1.0
    assert set(scores["per_class_iou"]) == set(NUSCENES.class_names[1:])
    assert scores["per_class_iou"]["others"] == 1.0
    assert (scores["convention"], scores["frames"]) == ("occ3d", 1)
    assert (scores["benchmark"], scores["use_mask"]) == ("occ3d", bool(mask))
    assert scores["range_m"] == pytest.approx([-40, -40, -1, 40, 40, 5.4])
    table, said = capsys.readouterr()
    assert said.count("official scenes") == 1  # Two data sets, one warning.
    assert "of occ3d: 200×200×16 voxels of 0.4 m" in table
    assert table.count("only those seen by a camera") == bool(mask)  # Not of RayIoU.
    assert "RayIoU as in SparseOcc" in table


def test_surroundoccs_label_scores_100(tiny, dataset, painted):
    name, grid = "surroundocc", BENCHMARKS["surroundocc"].grid
    config = painted(tiny, labels_of(dataset, name), grid, frame="lidar")
    scores = evaluate(config, f"--benchmark {name}")
    assert scores["iou"] == scores["miou"] == 1.0
    assert set(scores["per_class_iou"]) == set(NUSCENES.class_names[1:17])
    assert scores["convention"] == "default"
    larger = evaluate(config, f"--benchmark {name} --resolution 1.0")
    assert larger["iou"] == larger["miou"] == 1.0
    assert larger["voxel_m"] == 1.0


def test_openoccupancys_label_scores_100(tmp_path, painted):
    """Its labels are written here in a corner of its grid, which is all that the volume covers."""
    tiny = write_tiny(tmp_path / "nuscenes", samples=1, benchmarks=())
    (stem,) = tiny.samples[SCENE]
    volume = VoxelGrid((-10.4, 0.0, -3.0), 0.2, (60, 40, 20))
    labels = np.random.default_rng(0).integers(0, 17, volume.shape)
    voxels = np.argwhere(labels)
    rows = np.column_stack([np.add(voxels, (204, 256, 10)), labels[tuple(voxels.T)]])[
        :, [2, 1, 0, 3]
    ]
    folder = tmp_path / "nuScenes-Occupancy" / f"scene_{token(SCENE)}" / "occupancy"
    folder.mkdir(parents=True)
    np.save(folder / f"{tiny.lidar_token[stem]}.npy", rows)
    config = painted(tiny, {stem: labels}, volume, frame="lidar")
    scores = evaluate(config, "--sem")  # OpenOccupancy's labels are the default.
    assert scores["iou"] == scores["miou"] == 1.0
    assert all(value == 1.0 for value in scores["per_class_iou"].values())
    assert scores["benchmark"] == "openoccupancy"
    other = evaluate(config, "--scene-size 1 --resolution 0.4")
    assert other["iou"] == other["miou"] == 1.0
    assert other["range_m"] == pytest.approx([-40, -40, -2.8, 40, 40, 3.6])


def test_a_range_beyond_the_labels_counts_only_where_they_are(tiny, dataset, painted):
    config = painted(tiny, labels_of(dataset), OCC3D)
    words = f"--occ3d --scene-size 5 --resolution 1.6 --save-pred {config.parent / 'pred'}"
    for mask in ("", " --use-mask"):
        assert evaluate(config, words + mask)["miou"] == 1.0  # x, y to 51.2 m, z from -5 to 3 m.
    saved = np.load(config.parent / "pred" / f"{dataset.stems[0]}.npy")
    assert saved.shape == (64, 64, 5)
    assert saved.any()


def test_larger_voxels_are_made_of_what_counts():
    truth = np.array([9, 255, 255, 255, 255, 255, 0, 0, 4, 4, 255, 255])
    guess = np.array([9, 3, 3, 3, 3, 3, 3, 0, 0, 0, 7, 7])
    labels, occupancy = (
        torch.from_numpy(np.repeat(values.astype(np.uint8), 4).reshape(-1, 2, 2))
        for values in (truth, guess)
    )
    batch = Batch(["a"], [""], occupancy=labels[None])
    found, (prediction,) = coarsen_batch(batch, [GridPrediction("a", occupancy)], 2)
    # Pairs of labels (9, -), (-, -), (-, -), (0, 0), (4, 4), (-, -).
    assert found.occupancy[0].flatten().tolist() == [9, 255, 255, 0, 4, 255]
    assert prediction.occupancy.flatten().tolist() == [9, 0, 0, 3, 0, 0]
    assert batch.occupancy is not found.occupancy
    assert coarsen_batch(batch, [prediction], 1) == (batch, [prediction])


# --- something else scores what it should ---


@pytest.mark.parametrize("mask", [False, True])
def test_a_shifted_label_scores_as_the_shift_says(tiny, dataset, painted, mask):
    predictions = {stem: shifted(labels, 2) for stem, labels in labels_of(dataset).items()}
    config = painted(tiny, predictions, OCC3D)
    found = evaluate(config, "--occ3d --use-mask" if mask else "--occ3d")
    assert_same(found, scores_of(dataset, predictions, use_mask=mask))
    assert 0.1 < found["miou"] < 0.9


def test_a_volume_elsewhere_is_put_where_it_belongs(tiny, dataset, painted):
    """The same labels in a volume that begins two voxels later: the rest is free."""
    part = VoxelGrid((-39.2, -40.0, -1.0), 0.4, (198, 200, 16))
    cut = {stem: labels[2:] for stem, labels in labels_of(dataset).items()}
    expected = {stem: labels.copy() for stem, labels in labels_of(dataset).items()}
    for labels in expected.values():
        labels[:2] = FREE
    found = evaluate(painted(tiny, cut, part), "--occ3d")
    assert_same(found, scores_of(dataset, expected))
    assert found["recall"] < found["precision"] == 1.0


def test_a_volume_of_the_vehicle_is_seen_from_the_lidar(tiny, dataset, painted, monkeypatch):
    """SurroundOcc asks in LIDAR_TOP's frame, turned by 90 and tilted by 2 degrees."""
    volumes = {
        stem: paint(OCC3D, world_from_ego(tiny.time_us[stem])).astype(np.uint8)
        for stem in dataset.stems
    }
    config = painted(tiny, volumes, OCC3D)
    words = f"--benchmark surroundocc --save-pred {config.parent / 'pred'}"
    found = evaluate(config, words)
    grid = BENCHMARKS["surroundocc"].grid
    centers = grid.centers_m().numpy().astype(float).reshape(-1, 3)
    pose = ego_from_sensor(LIDAR)
    place = OCC3D.voxel_from_meters(centers @ pose[:3, :3].T + pose[:3, 3])
    is_inside = ((place >= 0) & (place < OCC3D.shape)).all(1)
    index = tuple(np.floor(place[is_inside]).astype(int).T)
    for stem, volume in volumes.items():
        prediction = np.load(config.parent / "pred" / f"{stem}.npy").reshape(-1)
        assert (prediction[~is_inside] == FREE).all()
        nearest = volume[index]
        nearest[nearest == NUSCENES.index("others")] = FREE
        is_solid = (nearest > 0) | (prediction[is_inside] > 0)
        # Sampled between voxels, not at the nearest one: faces may differ.
        assert (prediction[is_inside] == nearest)[is_solid].mean() > 0.85
    monkeypatch.setattr(BenchmarkFrames, "volume_from_label", lambda self, stem: np.eye(4))
    assert evaluate(config, "--benchmark surroundocc")["miou"] < 0.2 < found["miou"]


def test_voxels_beside_the_mask_play_no_part(tiny, dataset, painted):
    spoilt = {stem: labels.copy() for stem, labels in labels_of(dataset).items()}
    for index, stem in enumerate(dataset.stems):
        spoilt[stem][~dataset.labels(index, "occ3d").mask_camera] = 9
    config = painted(tiny, spoilt, OCC3D)
    scores = evaluate(config, "--occ3d --use-mask --ray-iou")
    assert scores["miou"] == 1.0
    assert scores["per_class_iou"]["trailer"] is None
    assert scores["rayiou"] < 0.9  # RayIoU has no mask.


def test_the_threshold_and_the_convention_are_those_asked_for(tiny, dataset, painted):
    config = painted(tiny, labels_of(dataset), OCC3D)
    # A voxel of a class has 10 against seventeen 0: it is free with a probability of 5e-5.
    scores = evaluate(config, "--occ3d --thresh 0.99999 --convention selfocc")
    assert scores["recall"] == 0.0
    assert scores["convention"] == "selfocc"
    assert list(scores["per_class_iou"]) == list(NUSCENES.class_names[1:17])


def test_the_threshold_is_otherwise_the_networks(tiny, dataset, painted):
    config = painted(tiny, labels_of(dataset), OCC3D)
    config.write_text(f"{config.read_text()}model['occupied_threshold'] = 0.99999\n")
    assert evaluate(config, "--occ3d")["recall"] == 0.0
    assert evaluate(config, "--occ3d --thresh 0.9")["recall"] == 1.0


# --- files ---


def test_saved_files_score_the_same_with_the_other_script(painted, tmp_path):
    tiny = write_tiny(tmp_path / "two" / "nuscenes", samples=2)
    dataset = NuScenes(tiny.root, "val", Reading(OCC3D, ["points"]))
    truth = labels_of(dataset)
    config = painted(tiny, {stem: shifted(labels, 1) for stem, labels in truth.items()}, OCC3D)
    found = evaluate(config, f"--occ3d --use-mask --ray-iou --save-sem {tmp_path / 'sem'}")
    for kind in ("pred", "gt", "mask", "origins"):
        (tmp_path / kind).mkdir()
    for index, stem in enumerate(dataset.stems):
        (file,) = (tmp_path / "sem" / SCENE / stem).iterdir()
        with np.load(file) as arrays:
            (name,) = arrays.files
            semantics = arrays[name]
        assert (file.name, name, semantics.dtype) == ("labels.npz", "semantics", np.uint8)
        assert (semantics == 17).mean() > 0.9
        labels = read_occ3d(tiny.root.parent / "occ3d" / "gts" / SCENE / stem / file.name)
        positions = [
            np.linalg.inv(world_from_ego(tiny.time_us[stem]))
            @ world_from_ego(tiny.time_us[other])
            @ ego_from_sensor(LIDAR)
            for other in dataset.stems
        ]
        np.testing.assert_allclose(
            dataset.lidar_positions(index), np.stack(positions)[:, :3, 3], atol=1e-9
        )
        arrays = {
            "pred": semantics,
            "gt": swap_free_and_others(labels.occupancy),
            "mask": labels.mask_camera,
            "origins": np.stack(positions)[:, :3, 3].astype(np.float32),
        }
        for kind, array in arrays.items():
            np.save(tmp_path / kind / f"{stem}.npy", array)
    words = "--pred pred --gt gt --mask mask --origins origins --json scores.json --layout occ3d"
    words = " ".join(w if w.startswith("--") or w == "occ3d" else f"{tmp_path / w}"
                     for w in words.split())  # fmt: skip
    words += " --metrics occupancy rayiou --convention occ3d"
    score.main(score.parse_arguments(words.split()))
    other = json.loads((tmp_path / "scores.json").read_text())
    assert_same(found, other)
    assert found["rayiou"] == pytest.approx(other["rayiou"])
    assert found["rays"] == other["rays"]
    assert 0.1 < found["rayiou"] < 1.0


# --- the seed's commands ---


def test_the_seeds_commands_run_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_tiny_nuscenes(Path("data/nuscenes"), samples=2, sweeps=1, image_size=(45, 80))
    config = Path("config/nuscenes/nuscenes_occ.py")
    config.parent.mkdir(parents=True)
    write_nuscenes_config(config, Path("data/nuscenes"))
    train.main(train.parse_arguments(shlex.split(SEED_TRAIN)[2:]))
    shutil.copytree("out/nuscenes/occ_train", "out/nuscenes/occ")
    capsys.readouterr()
    words = [*shlex.split(SEED_EVAL)[2:], "--dataset", "nuscenes"]
    eval_iou.main(eval_iou.parse_arguments(words))
    table = capsys.readouterr().out
    assert "others" in table
    assert (
        "2 frames; grid of occ3d: 200×200×16 voxels of 0.4 m, only those seen by a camera" in table
    )
    assert TINY_GRID.voxel_m == 1.6  # The network's own are larger.


# --- faults ---


def test_a_config_of_other_labels_is_rejected(tiny, painted):
    with pytest.raises(ValueError, match="benchmarks need labels='nuscenes', got 'unscenes3d'"):
        evaluate(painted(tiny, {}, OCC3D), "--occ3d --cfg-options labels=unscenes3d")


def test_missing_labels_are_named_before_anything_runs(tiny, painted):
    message = r"1 of 1 key frames of 'val' .* lack 1 files: .*nuScenes-Occupancy/scene_"
    with pytest.raises(FileNotFoundError, match=message):
        evaluate(painted(tiny, {}, OCC3D), "")


def test_labels_root_is_that_of_the_labels_it_was_given_for(tiny, dataset, painted):
    config = painted(tiny, labels_of(dataset), OCC3D)
    words = "--occ3d --cfg-options dataset.labels_root=elsewhere dataset.labels_source="
    with pytest.raises(FileNotFoundError, match="1 files: elsewhere/gts/"):
        evaluate(config, words + "occ3d")
    assert evaluate(config, words + "surroundocc dataset.use_mask=False")["miou"] == 1.0


def test_a_faulty_prediction_names_its_frame(tiny, dataset, painted, monkeypatch):
    def broken(self, batch, mode):
        grid = torch.full(OCC3D.shape, 99, dtype=torch.uint8)
        return [type("Broken", (), {"stem": stem, "occupancy": grid}) for stem in batch.stems]

    config = painted(tiny, labels_of(dataset), OCC3D)
    monkeypatch.setattr("engine.evaluation.nuscenes.LabelGridNetwork.forward", broken)
    with pytest.raises(ValueError, match=rf"frame {dataset.stems[0]}: the prediction"):
        evaluate(config, "--occ3d")


def test_corruptions_know_where_the_lidar_is_and_the_frame_before(tmp_path):
    root = write_tiny_nuscenes(
        tmp_path / "nuscenes", scenes=(SCENE,), samples=2, sweeps=0, image_size=(9, 16)
    ).root
    inputs = NuScenes(root, "val", Reading(OCC3D, ["points"]))
    frames = BenchmarkFrames(inputs, inputs)
    assert frames.lidar_position_m(0) == pytest.approx(ego_from_sensor(LIDAR)[:3, 3])
    assert [frames.previous(index) for index in range(2)] == [None, 0]
    assert np.array_equal(frames.volume_from_label(frames.stems[0]), np.eye(4))
