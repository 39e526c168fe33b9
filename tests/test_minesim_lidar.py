from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.sensors.lidar import (
    FOV_DEG,
    MAX_RANGE_M,
    RANGE_NOISE_M,
    TILT_DEG,
    detection_probability,
    measure,
    rosette,
    scan,
)
from dataset.minesim.sensors.rig import LIDAR_HEIGHT_M, vehicle_from_lidar
from dataset.minesim.sensors.stage import make_stage
from tests.minesim_world import CONE, TRUCK, tiny_world


@pytest.fixture(scope="module")
def stage():
    return make_stage(tiny_world())


@pytest.fixture(scope="module")
def pose(stage):
    return stage.world.drive.world_from_vehicle[10] @ vehicle_from_lidar()


def _angles(directions):
    azimuth = np.rad2deg(np.arctan2(directions[:, 1], directions[:, 0]))
    return azimuth, np.rad2deg(np.arcsin(directions[:, 2]))


def test_rosette_fills_exactly_its_field_of_view():
    azimuth, elevation = _angles(rosette(3.2))
    assert np.abs(azimuth).max() <= FOV_DEG[0] / 2 + 1e-3
    assert np.abs(elevation - TILT_DEG).max() <= FOV_DEG[1] / 2 + 1e-3
    count, _, _ = np.histogram2d(azimuth, elevation, bins=(24, 8))
    assert count.min() > 0.6 * count.mean()
    assert count.max() < 3.0 * count.mean()


def test_rosette_varies_by_frame_and_depends_only_on_time():
    np.testing.assert_array_equal(rosette(0.3), rosette(0.3))
    first, second = rosette(0.3), rosette(0.4)
    assert np.linalg.norm(first - second, axis=1).max() > 0.5
    cells = [set(map(tuple, np.round(d[:, 1:] * 400).astype(int))) for d in (first, second)]
    assert len(cells[0] & cells[1]) < 0.6 * len(cells[0])  # New rays fill the gaps.


def test_directions_are_unit_vectors():
    np.testing.assert_allclose(np.linalg.norm(rosette(12.3, 500), axis=1), 1.0, atol=1e-6)


def test_points_lie_on_surfaces_within_the_noise(stage, pose):
    found = scan(stage, pose, 1.0, np.random.default_rng(0))
    assert found.points.dtype == np.float32
    ground = found.points[(found.label == 11) & (found.points[:, 0] < 30)]
    # Noise normal to the surface shrinks with the sine of the ray's slope.
    slope = LIDAR_HEIGHT_M / np.linalg.norm(ground[:, :3], axis=1)
    error = (ground[:, 2] + LIDAR_HEIGHT_M) / slope
    assert abs(error.mean()) < 2e-3
    assert error.std() == pytest.approx(RANGE_NOISE_M, rel=0.05)


def test_labels_match_the_objects(stage, pose):
    found = scan(stage, pose, 1.0, np.random.default_rng(0))
    world = found.points[:, :3] + pose[:3, 3]
    on_truck = world[found.label == TRUCK]
    assert len(on_truck) > 300
    assert np.abs(on_truck - [30.0, 4.0, 1.5]).max(axis=0)[0] < 4.0 + 5 * RANGE_NOISE_M
    assert len(world[found.label == CONE]) > 10


def test_same_seed_same_bytes(stage, pose):
    first = scan(stage, pose, 1.0, np.random.default_rng(3))
    second = scan(stage, pose, 1.0, np.random.default_rng(3))
    assert first.points.tobytes() == second.points.tobytes()
    assert len(scan(stage, pose, 1.0, np.random.default_rng(4)).points) != len(first.points)


def test_range_and_intensity_stay_in_bounds(stage, pose):
    points = scan(stage, pose, 1.0, np.random.default_rng(0)).points
    assert np.linalg.norm(points[:, :3], axis=1).max() < MAX_RANGE_M
    assert points[:, 3].min() >= 0.0
    assert points[:, 3].max() <= 255.0
    assert np.isfinite(points).all()


def test_signs_are_brighter_than_the_road(stage, pose):
    found = scan(stage, pose, 1.0, np.random.default_rng(0))
    assert found.points[found.label == CONE, 3].mean() > 200
    assert found.points[found.label == 11, 3].mean() < 60


def test_water_and_distance_lose_points(stage, pose):
    directions = rosette(1.0) @ pose[:3, :3].T.astype(np.float32)
    hits = stage.caster.first_hits(pose[:3, 3].astype(np.float32), directions)
    seen, _ = detection_probability(stage, hits, directions)
    label = np.where(hits.face >= 0, stage.face_label[hits.face], 0)
    is_road, distance = label == 11, hits.distance
    assert seen[is_road & (distance < 20)].min() > 0.9
    assert seen[label == 9].mean() < 0.75  # The puddle, 8 to 12 m away.
    assert seen[is_road & (distance > 100)].mean() < 0.6
    assert (seen[hits.face < 0] == 0).all()


def test_dust_points_are_in_the_air_and_have_no_class(stage, pose):
    environment = replace(stage.world.environment, dust=1.0)
    dusty = replace(stage, world=replace(stage.world, environment=environment))
    found = scan(dusty, pose, 1.0, np.random.default_rng(0))
    assert 0.005 < found.is_dust.mean() < 0.05
    assert (found.label[found.is_dust] == 0).all()
    assert not scan(stage, pose, 1.0, np.random.default_rng(0)).is_dust.any()


def test_number_of_pulses_is_configurable(stage, pose):
    assert len(scan(stage, pose, 1.0, np.random.default_rng(0), num_rays=100).points) <= 100


def test_each_point_knows_its_pulse(stage, pose):
    directions = rosette(1.0, 2000)[::-1].copy()
    found = measure(stage, pose, directions, np.random.default_rng(0))
    assert 0 < len(found.pulse) < 2000
    assert (np.diff(found.pulse) > 0).all()
    unit = found.points[:, :3] / np.linalg.norm(found.points[:, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(unit, directions[found.pulse], atol=1e-5)
