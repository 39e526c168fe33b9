import numpy as np
import pytest

from dataset.minesim.sensors.shading import Shader, Spots, road_coordinates
from dataset.minesim.sensors.sky import make_light
from dataset.minesim.sensors.stage import make_stage
from tests.minesim_world import straight_drive, tiny_world


def test_road_coordinates_on_a_straight_drive_are_x_and_y():
    vertices = np.array([[10, 3, 0], [-50, -2, 1], [300, 8, 2]], np.float32)
    along, across = road_coordinates(vertices, straight_drive(8.0).world_from_vehicle)
    np.testing.assert_allclose(along, [10, -50, 300], atol=1e-3)  # Straight beyond the ends.
    np.testing.assert_allclose(across, [3, -2, 8], atol=1e-3)


def test_road_coordinates_follow_a_bend():
    angle = np.linspace(0, np.pi / 2, 80)
    poses = np.tile(np.eye(4), (80, 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = 50 * np.sin(angle), 50 - 50 * np.cos(angle)
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(angle)
    poses[:, 1, 0], poses[:, 0, 1] = np.sin(angle), -np.sin(angle)
    middle = np.array([[48 * np.sin(np.pi / 4), 50 - 48 * np.cos(np.pi / 4), 0]], np.float32)
    along, across = road_coordinates(middle, poses)
    assert along[0] == pytest.approx(50 * np.pi / 4, abs=0.3)  # The path has 4 m steps.
    assert across[0] == pytest.approx(2.0, abs=0.1)


def _spots(face, ray, sunlight, distance=10.0):
    third = np.array([1 / 3], np.float32)
    return Spots(
        face=np.array([face], np.int32),
        u=third,
        v=third,
        point=np.zeros((3, 1), np.float32),
        ray=np.array([ray], np.float32).T,
        distance_m=np.array([distance], np.float32),
        sunlight=np.array([sunlight], np.float32),
    )


@pytest.fixture(scope="module")
def shader():
    world = tiny_world()
    return Shader(make_stage(world), make_light(world.environment))


DOWN = (0.0, 0.0, -1.0)


def test_sunlight_adds_to_the_ground_and_shade_is_bluer(shader):
    sunlit = shader.color(_spots(0, DOWN, 1.0), 1700.0)[:, 0]
    shaded = shader.color(_spots(0, DOWN, 0.0), 1700.0)[:, 0]
    assert (sunlit > 2 * shaded).all()
    assert shaded[2] / shaded[0] > 1.5 * sunlit[2] / sunlit[0]


def test_light_on_plain_paint_matches_the_hand_computed_sum(shader):
    world = tiny_world()
    face = int(np.flatnonzero(world.face_class == 2)[0])  # The truck's underside.
    light = shader.light
    bounce = 0.35 * light.ambient + 0.06 * light.sun
    got = shader.color(_spots(face, (0.0, 0.0, 1.0), 0.0, distance=0.0), 1700.0)[:, 0]
    plain = world.face_color[face] * bounce
    # The paint pattern changes it by a few percent; its gloss reflects some ground.
    np.testing.assert_allclose(got, plain, atol=0.06)


def test_distance_fades_to_the_haze(shader):
    far = shader.color(_spots(0, DOWN, 1.0, distance=1e5), 1700.0)[:, 0]
    np.testing.assert_allclose(far, shader.light.haze, atol=1e-3)


def test_lamps_glow_at_dusk():
    world = tiny_world(sky="dusk")
    world.face_material[0] = 14  # lamp
    stage = make_stage(world)
    shader = Shader(stage, make_light(world.environment))
    lamp = shader.color(_spots(0, DOWN, 0.0, distance=50.0), 1700.0)[:, 0]
    road = shader.color(_spots(2, DOWN, 0.0, distance=50.0), 1700.0)[:, 0]
    assert lamp.sum() > 5 * road.sum()
