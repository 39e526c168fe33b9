from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.dust import Puffs
from dataset.minesim.sensors.lidar import detection_probability, measure, pulses, rosette, scan
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS, LIVOX_HAP
from dataset.minesim.sensors.rig import vehicle_from_lidar
from dataset.minesim.sensors.stage import make_stage
from tests.minesim_world import CONE, TRUCK, tiny_world

LIDAR_HEIGHT_M = LIVOX_HAP.height_m[0]


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
    assert np.abs(azimuth).max() <= LIVOX_HAP.fov_deg[0] / 2 + 1e-3
    assert np.abs(elevation - LIVOX_HAP.center_deg).max() <= LIVOX_HAP.fov_deg[1] / 2 + 1e-3
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
    assert error.std() == pytest.approx(LIVOX_HAP.noise_m, rel=0.05)


def test_labels_match_the_objects(stage, pose):
    found = scan(stage, pose, 1.0, np.random.default_rng(0))
    world = found.points[:, :3] + pose[:3, 3]
    on_truck = world[found.label == TRUCK]
    assert len(on_truck) > 300
    assert np.abs(on_truck - [30.0, 4.0, 1.5]).max(axis=0)[0] < 4.0 + 5 * LIVOX_HAP.noise_m
    assert len(world[found.label == CONE]) > 10


def test_same_seed_same_bytes(stage, pose):
    first = scan(stage, pose, 1.0, np.random.default_rng(3))
    second = scan(stage, pose, 1.0, np.random.default_rng(3))
    assert first.points.tobytes() == second.points.tobytes()
    assert len(scan(stage, pose, 1.0, np.random.default_rng(4)).points) != len(first.points)


def test_range_and_intensity_stay_in_bounds(stage, pose):
    points = scan(stage, pose, 1.0, np.random.default_rng(0)).points
    assert np.linalg.norm(points[:, :3], axis=1).max() < LIVOX_HAP.max_range_m
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
    model = replace(LIVOX_HAP, columns=100)
    assert len(scan(stage, pose, 1.0, np.random.default_rng(0), model=model).points) <= 100


def test_each_point_knows_its_pulse(stage, pose):
    directions = rosette(1.0, 2000)[::-1].copy()
    found = measure(stage, pose, directions, np.random.default_rng(0))
    assert 0 < len(found.pulse) < 2000
    assert (np.diff(found.pulse) > 0).all()
    unit = found.points[:, :3] / np.linalg.norm(found.points[:, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(unit, directions[found.pulse], atol=1e-5)


def _measure(world, directions, *, model=LIVOX_HAP, seed=0, height=LIDAR_HEIGHT_M):
    stage = make_stage(world)
    pose = world.drive.world_from_vehicle[10] @ vehicle_from_lidar(height)
    return measure(stage, pose, directions, np.random.default_rng(seed), model=model)


def _plume(extinction):
    """Return a plume of 3 m around (16, 0, 2), about 8 m ahead of the LiDAR."""
    center = np.array([[16.0, 0.0, 2.0]], np.float32)
    values = (np.array([value], np.float32) for value in (1.5, extinction))
    return Puffs(center, *values)


def _in_plume(extinction):
    world = tiny_world()
    return replace(world, environment=replace(world.environment, plumes=_plume(extinction)))


@pytest.mark.parametrize("extinction", [0.1, 0.3])
def test_a_plume_dims_what_is_behind_it_by_beer_and_lambert(extinction):
    world = tiny_world()
    toward_truck = np.array([20.0, 2.9, -0.15], np.float32)  # Past the flank of the plume.
    ray = toward_truck / np.linalg.norm(toward_truck)
    directions = np.tile(ray, (4000, 1))
    dusty = replace(world, environment=replace(world.environment, plumes=_plume(extinction)))
    clear, found = _measure(world, directions), _measure(dusty, directions)
    steps = np.linspace(0.0, np.linalg.norm(toward_truck), 4000)
    away = np.linalg.norm(steps[:, None] * ray - [10.0, 0.0, 2.0 - LIDAR_HEIGHT_M], axis=1)
    depth = extinction * np.exp(-0.5 * (away / 1.5) ** 2).mean() * steps[-1]
    ratio = found.points[~found.is_dust, 3].mean() / clear.points[:, 3].mean()
    assert ratio == pytest.approx(np.exp(-2.0 * depth), rel=0.01)
    assert depth > 0.1


def test_dense_dust_hides_what_is_behind_it():
    seen = []
    for extinction in (0.05, 0.4, 2.0):
        found = _measure(_in_plume(extinction), rosette(1.0))
        seen.append((found.label == TRUCK).sum() + (found.label == CONE).sum())
    assert seen[0] > seen[1] > 2 * seen[2]


def test_a_plume_scatters_back_weak_unlabeled_points_from_inside():
    found = _measure(_in_plume(0.3), rosette(1.0))
    assert 0.01 < found.is_dust.mean() < 0.2
    dust = found.points[found.is_dust]
    away = np.linalg.norm(dust[:, :3] - [10.0, 0.0, 2.0 - LIDAR_HEIGHT_M], axis=1)
    assert np.quantile(away, 0.95) < 4.6  # Three standard deviations.
    assert dust[:, 3].max() < 20
    assert (found.label[found.is_dust] == 0).all()
    thin = _measure(_in_plume(0.05), rosette(1.0))
    assert 0 < thin.is_dust.mean() < 0.4 * found.is_dust.mean()


@pytest.mark.parametrize("model", LIDAR_MODELS.values(), ids=LIDAR_MODELS)
def test_each_model_has_its_field_of_view_and_beams(model):
    azimuth, elevation = _angles(pulses(model, 0.4))
    assert np.ptp(azimuth) == pytest.approx(model.fov_deg[0], abs=0.5)
    low, high = model.center_deg + np.array([-0.5, 0.5]) * model.fov_deg[1]
    assert elevation.min() == pytest.approx(low, abs=0.1)
    assert elevation.max() == pytest.approx(high, abs=0.1)
    assert len(azimuth) == model.columns * max(1, model.beams)
    if model.pattern == "beams":
        assert len(np.unique(np.round(elevation, 2))) == model.beams


@pytest.mark.parametrize("model", LIDAR_MODELS.values(), ids=LIDAR_MODELS)
def test_each_model_has_its_range_and_writes_the_same_unit(model):
    height = sum(model.height_m) / 2
    world = tiny_world()
    found = _measure(world, pulses(model, 0.4), model=model, height=height)
    assert np.linalg.norm(found.points[:, :3], axis=1).max() < model.max_range_m
    on_road = found.points[(found.label == 11) & (found.points[:, 0] < 20)]
    assert on_road[:, 2].mean() == pytest.approx(-height, abs=0.02)
    assert 0.02 * model.white < on_road[:, 3].mean() < 0.3 * model.white
    assert found.points[found.label == CONE, 3].max() > 220  # Signs saturate any of them.
    assert found.points[:, 3].max() <= 255.0


def test_a_film_takes_a_tenth_of_the_intensity():
    dry = tiny_world()
    wet = replace(dry, face_film=np.ones(len(dry.faces), np.float32))
    first, second = (_measure(world, rosette(1.0)) for world in (dry, wet))
    mean = [found.points[found.label == 11, 3].mean() for found in (first, second)]
    assert mean[1] / mean[0] == pytest.approx(0.9, abs=0.02)
