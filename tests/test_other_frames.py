import numpy as np
import pytest
import torch

from dataset import layout
from dataset.class_counts import frame_class_counts
from dataset.other_frames import frames_with
from dataset.sample import SampleKey
from dataset.unscenes3d import UnScenes3D
from tests.flat_options import build_flat
from tests.layout_files import DRIVEABLE, TRUCK, write_tiny_unscenes3d
from utils.labels import UNSCENES3D

FIELDS = ("images", "points", "pixel_from_lidar", "occupancy", "depth_m")
MIX = {"mix": {"sector_prob": 1.0, "sector_deg": (60.0, 90.0)}}
PASTE = {"paste": {"objects": 4, "classes": ("truck",)}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(folder, scenes=scenes, frames=3, sweeps=1)
    count_labels(folder)
    return folder


def build(root, augmentation=None, fields=FIELDS, **options):
    options = {"split": "train", "grid": layout.LABEL_GRID, "image_size": (60, 96), **options}
    return build_flat(UnScenes3D, root, fields=fields, augmentation=augmentation, **options)


def count_labels(root):
    """Count the labels without processes, which take seconds to start; the counts are cached."""
    frame_class_counts(root, build(root).stems, "train", workers=1, progress=False)


def remove_truck(root, stem):
    """Replace the labels of the truck by those of the ground below it."""
    rows = np.load(root / f"occ/{stem}.npy")
    is_truck, ground_z = rows[:, 3] == TRUCK, rows[rows[:, 3] == DRIVEABLE][0, 2]
    rows[is_truck, 2:] = ground_z, DRIVEABLE
    np.save(root / f"occ/{stem}.npy", rows)


@pytest.mark.parametrize("augmentation", [MIX, PASTE])
def test_the_same_key_gives_the_same_sample(root, augmentation):
    first = build(root, augmentation, seed=1)[SampleKey(1, 2)]
    dataset = build(root, augmentation, seed=1)
    dataset[0]
    again = dataset[SampleKey(1, 2)]
    for name in FIELDS:
        assert torch.equal(getattr(first, name), getattr(again, name)), name


def test_mixed_frames_have_parts_of_both(root):
    plain, mixed = build(root), build(root, MIX)
    frames = [plain[index] for index in range(3)]
    sample = mixed[SampleKey(0, 0)]
    pixels = [(sample.images == frame.images).all(1).float().mean() for frame in frames]
    assert 0.2 < pixels[0] < 1.0
    assert len(sample.points) != len(frames[0].points)
    rows = set(map(tuple, sample.points.tolist()))
    shares = [len(rows & set(map(tuple, f.points.tolist()))) / len(rows) for f in frames]
    assert 0.1 < shares[0] < 0.95
    assert sum(shares) > 0.999


def test_sweeps_are_mixed_alike(root):
    sample = build(root, MIX, num_sweeps=2)[SampleKey(1, 0)]
    assert sample.points.shape[1] == 5
    assert len(sample.points[:, 4].unique()) == 2


def test_a_frame_without_trucks_gets_one(tmp_path):
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, sweeps=0)
    plain = build(tmp_path)
    remove_truck(tmp_path, plain.stems[0])
    count_labels(tmp_path)
    dataset = build(tmp_path, {"paste": {"objects": 4, "classes": ("truck",), "turn_deg": 5.0}})
    pasted = [dataset._augmentation.choices(0, SampleKey(0, epoch)) for epoch in range(9)]
    most = max(range(9), key=lambda epoch: pasted[epoch].pasted_objects)
    assert (dataset[SampleKey(0, most)].occupancy == TRUCK).sum() > 100


def test_lidar_only_frames_are_mixed_about_the_lidar(root):
    sample = build(root, MIX, fields=("points", "occupancy"))[0]
    assert sample.images is None
    assert len(sample.points)


def test_frames_of_another_calibration_are_not_mixed(tmp_path, monkeypatch):
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, sweeps=0)
    path = sorted((tmp_path / "calibs").iterdir())[1]
    path.write_text(path.read_text().replace("P2: ", "P2: 1"))  # Another focal length.
    lines = []
    monkeypatch.setattr("mmengine.logging.MMLogger.warning", lambda _, text: lines.append(text))
    plain, mixed = build(tmp_path), build(tmp_path, MIX)
    assert torch.equal(plain[0].points, mixed[0].points)
    assert torch.equal(plain[1].points, mixed[1].points)
    assert len(lines) == 1
    assert "none of 8 frames drawn for frame 0 has its calibration and image size" in lines[0]


def test_a_single_frame_has_no_other(root):
    stem = build(root).stems[0]
    alone = build(root, MIX, stems=[stem])
    assert torch.equal(alone[0].points, build(root)[0].points)


def test_neighbors_and_missing_labels_are_rejected(root):
    for fields in (("points", "neighbors", "occupancy"), ("points",)):
        with pytest.raises(ValueError, match=r"need its labels, .* Set model.rendering"):
            build(root, MIX, fields=fields)


def test_rare_classes_are_those_in_less_than_half_of_the_frames():
    counts = np.zeros((4, 12), np.int64)
    counts[0, [2, 7, 9, 10]] = 5  # Truck, pedestrian, and two kinds of ground.
    counts[:3, 1] = 5  # A barrier in most.
    found = frames_with(counts, (), UNSCENES3D)
    present = {label: frames.tolist() for label, frames in found.items() if len(frames)}
    assert present == {2: [0], 7: [0]}
    assert frames_with(counts, ("barrier",), UNSCENES3D)[1].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="has no class 'lorry'"):
        frames_with(counts, ("lorry",), UNSCENES3D)
