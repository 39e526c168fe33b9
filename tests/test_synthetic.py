import math
from pathlib import Path

import pytest
import torch

from dataset.layout import LABEL_GRID
from engine.benchmark import synthetic
from engine.benchmark.synthetic import (
    depth_maps,
    network_projections,
    surfaces,
    synthetic_batch,
)
from tests.benchmark_config import tiny_config
from tests.model_inputs import GRID, IMAGE_SIZE, pinhole
from utils.config import load_config

CONFIG = Path(__file__).parents[1] / "config" / "unscenes3d" / "unscenes3d_occ.py"


@pytest.fixture(autouse=True)
def _few_points(monkeypatch):
    monkeypatch.setattr(synthetic, "POINTS_PER_SWEEP", 500)


def test_a_batch_has_what_training_reads(tmp_path):
    batch = synthetic_batch(tiny_config(tmp_path), 2)
    height, width = IMAGE_SIZE
    assert len(batch) == 2
    assert batch.images.shape == (2, 1, 3, height, width)
    assert batch.images.dtype == torch.uint8
    assert batch.images.float().std() > 60  # Noise over the whole range.
    assert batch.pixel_from_lidar.shape == (2, 1, 4, 4)
    assert batch.depth_m.shape == (2, 1, height, width)
    assert batch.occupancy.shape == (2, *GRID.shape)
    assert [points.shape for points in batch.points] == [(500, 4)] * 2


@pytest.mark.parametrize(
    ("modality", "absent"),
    [("camera", ["points"]), ("lidar", ["images", "pixel_from_lidar", "depth_m"])],
)
def test_a_modality_gets_its_own_fields_only(tmp_path, modality, absent):
    batch = synthetic_batch(tiny_config(tmp_path, modality=modality), 1)
    fields = ["images", "pixel_from_lidar", "depth_m", "points", "occupancy"]
    assert [name for name in fields if getattr(batch, name) is None] == sorted(
        absent, key=fields.index
    )


def test_a_seed_gives_the_same_frames_and_another_seed_others(tmp_path):
    cfg = tiny_config(tmp_path)
    first, same, other = (synthetic_batch(cfg, 2, seed=seed) for seed in (1, 1, 2))
    for name in ("images", "occupancy", "depth_m"):
        assert torch.equal(getattr(first, name), getattr(same, name))
    assert torch.equal(first.points[1], same.points[1])
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.points[0], other.points[0])
    assert not torch.equal(first.points[0], first.points[1])


def test_points_lie_on_the_surfaces(tmp_path):
    batch = synthetic_batch(tiny_config(tmp_path), 1)
    points = batch.points[0]
    assert GRID.contains(points[:, :3]).float().mean() > 0.95
    index = GRID.voxel_from_meters(points[:, :3]).floor().long()
    index = index.clamp(min=torch.zeros(3).long(), max=torch.tensor(GRID.shape) - 1)
    label = batch.occupancy[0][tuple(index.T)]
    # Points reach a little into the voxels along the ray, and leave some of them at the back.
    assert (label > 0).float().mean() > 0.8
    assert len(torch.unique(index, dim=0)) > 50
    assert points[:, 3].min() >= 0
    assert 0.8 < points[:, 3].max() <= 1


def test_sweeps_add_points_and_their_age(tmp_path):
    batch = synthetic_batch(tiny_config(tmp_path, dataset__num_sweeps=3), 1)
    points = batch.points[0]
    assert points.shape == (1500, 5)
    torch.testing.assert_close(points[:, 4].unique(), torch.tensor([0.0, 0.1, 0.2]))


def test_the_full_grid_has_as_many_labels_as_real_frames():
    occupancy = surfaces(LABEL_GRID, 12, torch.Generator().manual_seed(0))
    labeled = occupancy > 0
    assert 60_000 < labeled.sum() < 80_000
    assert occupancy.max() == 11
    assert (occupancy == 11).sum() > 0.5 * labeled.sum()
    # Surfaces: hardly a voxel has neighbors on all its six sides.
    inner = labeled[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            window = [slice(1, -1)] * 3
            window[axis] = side
            inner = inner & labeled[tuple(window)]
    assert inner.sum() < 0.01 * labeled.sum()


def test_depth_of_a_wall():
    occupancy = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    occupancy[0, 8] = 10  # From 8 m on; the grid is 4 m high.
    depth_m = depth_maps(occupancy, GRID, pinhole(32, 64, 30.0)[None], (32, 64))
    assert depth_m.shape == (1, 32, 64)
    # 30 px of focal length: the wall's 2 m up and down are 7.5 px, seen in blocks of 4.
    assert (depth_m[0, 10:22, 20:40] == 8).all()
    assert (depth_m[0, :8] == 0).all()


def test_the_camera_sees_the_horizon_where_the_real_one_does():
    cfg = load_config(CONFIG)
    far_ahead = torch.tensor([1e5, 0.0, 0.0, 1.0])
    u, v, depth, _ = network_projections(cfg)[0] @ far_ahead
    assert u / depth == pytest.approx(640, abs=1)
    # At 37 % of the recorded image, of which the rows from 20 % to 95 % are kept.
    assert v / depth == pytest.approx(384 * (0.37 - 0.2) / 0.75, abs=3)


def test_six_cameras_of_nuscenes_look_all_around():
    cfg = load_config(CONFIG.parents[1] / "nuscenes/nuscenes_occ.py")
    projections = network_projections(cfg)
    assert projections.shape == (6, 4, 4)
    around = torch.tensor([[math.cos(a), math.sin(a)] for a in torch.arange(6) * math.pi / 3])
    for camera, direction in enumerate(around):
        far = torch.cat([1e3 * direction, torch.tensor([0.0, 1.0])])
        depth_m = (projections @ far)[:, 2]
        assert depth_m.argmax() == camera
