import numpy as np
import pytest

from dataset.minesim.sensors.sky import make_light
from dataset.minesim.sensors.stage import make_stage
from dataset.minesim.sensors.sunlight import Sunlight, soften
from tests.minesim_world import tiny_world


@pytest.fixture(scope="module")
def stage():
    return make_stage(tiny_world())


def _on_the_ground(x, y):
    """Points above the ground, seen from straight above."""
    point = np.stack([x, y, np.full_like(x, 0.01)]).astype(np.float32)
    ray = np.broadcast_to(np.array([[0.0], [0.0], [-1.0]], np.float32), point.shape)
    return np.zeros(point.shape[1], np.int32), point, ray, np.full(point.shape[1], 10, np.float32)


def _around_the_truck():
    x, y = np.meshgrid(np.linspace(-30, 30, 121), np.linspace(-30, 30, 121))
    return _on_the_ground(x.reshape(-1), y.reshape(-1))


@pytest.mark.parametrize("yaw_deg", [0, 70, 200])
def test_only_points_near_the_shadow_of_the_truck_are_cast_and_none_is_missed(stage, yaw_deg):
    yaw = np.deg2rad(yaw_deg)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    face, point, ray, distance = _around_the_truck()
    light = make_light(stage.world.environment)
    found = Sunlight(stage, light).visible(face, point, ray, distance, pose)
    start = point.T + 0.02 * np.array([0, 0, 1], np.float32) + 0.05 * light.sun_direction
    toward_sun = Sunlight(stage, light).disc_rays(len(face)).T
    rotation = pose[:3, :3].astype(np.float32)
    by_truck = stage.ego_shadow.are_blocked(start @ rotation, toward_sun @ rotation)
    by_mine = stage.caster.are_blocked(start, toward_sun)
    assert 50 < by_truck.sum() < len(face) / 2
    np.testing.assert_array_equal(found, ~(by_truck | by_mine))


def test_nothing_is_sunlit_under_clouds():
    world = tiny_world(sky="overcast")
    sunlight = Sunlight(make_stage(world), make_light(world.environment))
    assert not sunlight.visible(*_around_the_truck(), np.eye(4)).any()


def test_faces_that_look_away_from_the_sun_are_in_shade(stage):
    light = make_light(stage.world.environment)
    away = int(np.argmin(stage.face_normal @ light.sun_direction))
    face, point, ray, distance = _on_the_ground(np.array([25.0]), np.array([-20.0]))
    sunlight = Sunlight(stage, light)
    assert sunlight.visible(face, point, ray, distance, np.eye(4)) == 1.0
    assert sunlight.visible(face + away, point, ray, distance, np.eye(4)) == 0.0


def test_softening_averages_and_leaves_out_the_sky():
    sunlight = np.zeros((5, 6), np.float32)
    sunlight[2, 2] = 1.0
    assert soften(sunlight, None)[2, 2] == pytest.approx(1 / 9)
    is_surface = np.ones_like(sunlight)
    is_surface[:2] = 0.0
    assert soften(sunlight, is_surface)[2, 2] == pytest.approx(1 / 6)
    assert soften(sunlight, is_surface)[0, 0] == 0.0


def test_wide_images_are_softened_over_more_pixels():
    sunlight = np.zeros((5, 1280), np.float32)
    sunlight[2, 700] = 1.0
    assert soften(sunlight, None)[2, 698] == pytest.approx(1 / 25)
