from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dataset.corruptions.both import misalign_space
from dataset.corruptions.frames import CorruptedFrames
from dataset.corruptions.surroundings import Surroundings
from dataset.corruptions.table import BOTH, CAMERA, CORRUPTIONS, LIDAR, SEVERITIES, corrupt
from dataset.frame_dataset import FrameDataset
from dataset.sample import Sample
from utils.geometry import VoxelGrid, project_points
from utils.labels import UNSCENES3D

GRID = VoxelGrid((0.0, -12.0, -3.0), 1.0, (40, 24, 6))
TRUCK, GROUND = UNSCENES3D.index("truck"), UNSCENES3D.index("driveable_surface")
CAMERA_MATRIX = torch.tensor([[32.0, -50, 0, 0], [24, 0, -50, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def make_sample(stem="7.0", seed=0):
    """Ground with a truck 15 m ahead."""
    draw = np.random.default_rng(seed)
    ground = np.column_stack([draw.uniform(3, 40, 3000), draw.uniform(-12, 12, 3000)])
    ground = np.column_stack([ground, np.full(3000, -2.5), draw.uniform(0.05, 0.5, 3000)])
    truck = np.column_stack([draw.uniform(15, 18, 400), draw.uniform(-2, 2, 400)])
    truck = np.column_stack([truck, draw.uniform(-2, 0, 400), draw.uniform(0.1, 1, 400)])
    occupancy = np.zeros(GRID.shape, np.uint8)
    occupancy[:, :, 0] = GROUND
    occupancy[15:18, 10:14, 1:3] = TRUCK
    return Sample(
        stem=stem,
        scene="scene",
        images=torch.from_numpy(draw.integers(40, 200, (1, 3, 48, 64), np.uint8)),
        points=torch.from_numpy(np.vstack([ground, truck]).astype(np.float32)),
        pixel_from_lidar=CAMERA_MATRIX[None].clone(),
        occupancy=torch.from_numpy(occupancy),
    )


def around(**options):
    return Surroundings(UNSCENES3D, GRID, previous=lambda: make_sample("6.0", seed=1), **options)


def tensors_of(sample):
    found = {field.name: getattr(sample, field.name) for field in fields(Sample)}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def changed_fields(before, after):
    pairs = zip(tensors_of(before).items(), tensors_of(after).values(), strict=True)
    return {name for (name, old), new in pairs if not torch.equal(old, new)}


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_corruption_changes_its_fields_alone_and_is_repeatable(name, severity):
    corruption, sample, untouched = CORRUPTIONS[name], make_sample(), make_sample()
    first = corrupt(sample, corruption, severity, around())
    again = corrupt(make_sample(), corruption, severity, around())
    assert not changed_fields(first, again)
    assert not changed_fields(sample, untouched)
    assert changed_fields(sample, first) <= corruption.changes
    for key, value in tensors_of(first).items():
        assert value.dtype == getattr(sample, key).dtype
        assert key != "points" or bool((value[:, 3] >= 0).all() and (value[:, 3] <= 1).all())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_happens(name):
    corruption = CORRUPTIONS[name]
    samples = [make_sample(f"{number}.0") for number in range(8)]
    changed = [changed_fields(s, corrupt(s, corruption, 3, around())) for s in samples]
    assert set().union(*changed) == corruption.changes


@pytest.mark.parametrize("name", ["camera_missing", "lidar_missing", "temporal_misalignment"])
def test_frames_that_suffer_at_a_severity_do_so_at_the_next(name):
    corruption = CORRUPTIONS[name]
    suffering = []
    for severity in SEVERITIES:
        samples = [make_sample(f"{number}.0") for number in range(40)]
        changes = [changed_fields(s, corrupt(s, corruption, severity, around())) for s in samples]
        suffering.append({number for number, change in enumerate(changes) if change})
    assert suffering[0] < suffering[1] < suffering[2]


def test_frames_corruptions_and_seeds_differ():
    fog = CORRUPTIONS["dust"]
    first = corrupt(make_sample(), fog, 1, around())
    assert changed_fields(first, corrupt(make_sample("8.0"), fog, 1, around()))
    assert changed_fields(first, corrupt(make_sample(), fog, 1, around(), seed=1))


def test_the_table_has_every_sensor_and_three_levels():
    assert {corruption.sensor for corruption in CORRUPTIONS.values()} == {CAMERA, LIDAR, BOTH}
    for corruption in CORRUPTIONS.values():
        assert len(corruption.levels) == 3
        assert len({str(level) for level in corruption.levels}) == 3


def test_a_severity_and_a_missing_field_are_named():
    with pytest.raises(ValueError, match=r"severity must be one of \(1, 2, 3\), got 4"):
        corrupt(make_sample(), CORRUPTIONS["dark"], 4, around())
    blind = replace(make_sample(), points=None)
    with pytest.raises(ValueError, match=r"frame 7\.0: 'camera_fog' needs \['points'\]"):
        corrupt(blind, CORRUPTIONS["camera_fog"], 1, around())


def test_a_sensor_that_is_not_read_stays_unread():
    lidar_only = replace(make_sample(), images=None, pixel_from_lidar=None)
    late = corrupt(lidar_only, CORRUPTIONS["temporal_misalignment"], 3, around())
    assert late.images is None
    camera_only = replace(make_sample(), points=None)
    assert corrupt(camera_only, CORRUPTIONS["dark"], 3, around()).points is None


def test_echoes_are_lost_in_voxels_of_vehicles():
    sample = make_sample()
    left = corrupt(sample, CORRUPTIONS["incomplete_echo"], 3, around()).points
    assert (left[:, 2] < -2.2).sum() == 3000
    assert (left[:, 2] > -2.2).sum() == pytest.approx(20, abs=15)


def test_labels_may_be_in_another_frame():
    points_from_label = np.eye(4)
    points_from_label[0, 3] = 100
    sample = make_sample()
    moved = sample.points.numpy() + np.array([100, 0, 0, 0], np.float32)
    elsewhere = Surroundings(UNSCENES3D, GRID, points_from_label)
    here = around().on_vehicle(sample, sample.points.numpy())
    assert (elsewhere.on_vehicle(sample, moved) == here).all()
    assert here.sum() == 400
    with pytest.raises(ValueError, match=r"frame 7\.0 needs its labels"):
        around().on_vehicle(replace(sample, occupancy=None), sample.points.numpy())


def test_weather_is_about_the_lidar():
    """In a frame whose origin is below the LiDAR, the same points are corrupted alike."""
    sample = make_sample()
    lower = replace(sample, points=sample.points + torch.tensor([1.0, 0, 2, 0]))
    raised = around(lidar_m=np.array([1.0, 0, 2]))
    for name in ("lidar_fog", "lidar_dust", "wet_ground", "beams_missing"):
        here = corrupt(sample, CORRUPTIONS[name], 2, around()).points
        there = corrupt(lower, CORRUPTIONS[name], 2, raised).points
        assert torch.allclose(here + torch.tensor([1.0, 0, 2, 0]), there, atol=1e-4)


def test_misalignment_in_space_turns_the_calibration():
    sample = make_sample()
    level = dict(share=1.0, turn_deg=2.0, shift_m=0.0)
    moved = misalign_space(sample, np.random.default_rng(0), around(), **level)
    assert changed_fields(sample, moved) == {"pixel_from_lidar"}
    ahead = torch.tensor([[1000.0, 0, 0]])
    before, _ = project_points(sample.pixel_from_lidar[0], ahead)
    after, _ = project_points(moved.pixel_from_lidar[0], ahead)
    # 2° about y and z move the center of the image by 50 px · tan 2° each.
    assert (after - before).abs()[0].tolist() == pytest.approx([1.75, 1.75], abs=0.1)
    level = dict(share=1.0, turn_deg=0.0, shift_m=2.0)
    moved = misalign_space(sample, np.random.default_rng(0), around(), **level)
    _, depth_m = project_points(moved.pixel_from_lidar[0], ahead)
    assert abs(depth_m.item() - 1000) == pytest.approx(2, abs=1e-3)


def test_a_late_sensor_shows_the_frame_before():
    before = make_sample("6.0", seed=1)
    seen = set()
    for number in range(30):
        sample = make_sample(f"{number}.0")
        late = corrupt(sample, CORRUPTIONS["temporal_misalignment"], 3, around())
        changed = changed_fields(sample, late)
        assert all(torch.equal(getattr(late, name), getattr(before, name)) for name in changed)
        seen.add(frozenset(changed))
    assert len(seen) == 4  # Each sensor is late on its own.
    alone = Surroundings(UNSCENES3D, GRID)
    sample = make_sample("3.0")
    assert corrupt(sample, CORRUPTIONS["temporal_misalignment"], 3, alone) is sample


class Drive(FrameDataset):
    """Four frames of a drive."""

    def __init__(self):
        self.stems, self.scenes = [f"{number}.0" for number in range(4)], ["drive"] * 4
        self.grid, self.image_size = GRID, (48, 64)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return make_sample(self.stems[index], seed=index)

    def stems_with(self, field):
        return self.stems[1:]

    def neighbors(self, count):
        raise NotImplementedError

    def previous(self, index):
        return index - 1 if index else None


def test_corrupted_frames_depend_on_the_frame_alone():
    corruption = CORRUPTIONS["temporal_misalignment"]
    every = CorruptedFrames(Drive(), range(4), UNSCENES3D, corruption, 3)
    some = CorruptedFrames(Drive(), [3, 1], UNSCENES3D, corruption, 3)
    assert (len(some), some.stems, some.stems_with("points")) == (2, ["3.0", "1.0"], some.stems)
    assert not changed_fields(every[3], some[0])
    assert not changed_fields(every[1], some[1])
    clean = CorruptedFrames(Drive(), [2], UNSCENES3D)
    assert not changed_fields(clean[0], Drive()[2])
    with pytest.raises(ValueError, match="have no neighbors"):
        some.neighbors(1)
