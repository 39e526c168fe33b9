"""The haul road's coordinates, ruts and puddles."""

import numpy as np
import pytest

from dataset.minesim.scene.locations import REGIONS
from dataset.minesim.scene.road import Puddle, Road, RutStrip, Waves, draw_road

FLAT = Waves(np.zeros(1), np.ones(1), np.zeros(1))


@pytest.fixture(scope="module")
def road() -> Road:
    return draw_road(np.random.default_rng(4), REGIONS[4], (0.0, 150.0))


def test_waves_by_hand_and_their_slope() -> None:
    waves = Waves(np.array([2.0, 1.0]), np.array([8.0, 4.0]), np.array([0.0, np.pi / 2]))
    # 2 sin(90°) + sin(180° + 90°) at x = 2.
    assert waves.value(np.array([2.0]))[0] == pytest.approx(1.0)
    x = np.linspace(-10, 10, 7)
    difference = (waves.value(x + 1e-5) - waves.value(x - 1e-5)) / 2e-5
    assert np.allclose(waves.slope(x), difference, atol=1e-6)


def test_drawn_waves_respect_the_maximum_slope() -> None:
    waves = Waves.draw(np.random.default_rng(0), (900.0, 300.0), 0.2)
    slope = waves.slope(np.linspace(-2000, 2000, 5000))
    assert 0.02 < np.abs(slope).max() <= 0.2 + 1e-9


def test_point_and_offset_are_inverse(road: Road) -> None:
    x, d = np.random.default_rng(1).uniform(-300, 300, size=(2, 50))
    xy = road.point(x, d)
    assert np.allclose(xy[:, 0], x)
    assert np.allclose(road.offset(xy), d)


def test_offset_is_the_distance_to_the_course(road: Road) -> None:
    # Close to the road, where curvature does not matter: within 2 % of the true distance.
    line = road.point(np.linspace(-50, 150, 20_001), np.zeros(20_001))
    for d in (-8.0, 5.0):
        place = road.place(60.0, d)
        assert np.hypot(*(line - place).T).min() == pytest.approx(abs(d), rel=0.02)


def test_ego_stays_in_the_right_lane(road: Road) -> None:
    assert road.lane_m == pytest.approx(-road.width_m / 4)
    wear = road.track_wear(np.array([road.lane_m - 1.9, road.lane_m, -road.lane_m + 1.9]))
    assert wear[0] > 0.95
    assert wear[1] < 0.1
    assert wear[2] > 0.95


def test_ruts_are_deep_with_raised_shoulders() -> None:
    strip = RutStrip((0.0, 60.0), np.array([4.0]), np.array([0.25]), FLAT)
    profile = strip.relief(np.full(3, 30.0), np.array([4.0, 4.55, 6.0]))
    # In the rut: −0.25 and the foot of both shoulders, 0.25·0.45·exp(−(0.55/0.22)²) = 0.0002.
    assert profile[0] == pytest.approx(-0.25 + 0.25 * 0.45 * np.exp(-6.25), abs=1e-9)
    assert profile[1] > 0.09
    assert abs(profile[2]) < 1e-3
    assert strip.relief(np.array([-1.0, 61.0]), np.array([4.0, 4.0])).tolist() == [0.0, 0.0]


def test_puddle_is_hollow_only_inside_its_shore() -> None:
    puddle = Puddle(10.0, 2.0, (2.0, 1.0), 0.2, 0.3)
    middle = (np.array([10.0]), np.array([2.0]))
    assert puddle.radius(*middle).tolist() == [0.0]
    assert puddle.relief(*middle)[0] == pytest.approx(-0.2)
    angle = np.linspace(0, 2 * np.pi, 50)
    rim = puddle.shore(angle)
    x, d = 10.0 + 2.0 * rim * np.cos(angle), 2.0 + rim * np.sin(angle)
    assert np.allclose(puddle.radius(x, d), 1.0)
    assert np.allclose(puddle.relief(10 + (x - 10) * 1.01, 2 + (d - 2) * 1.01), 0.0)


def test_drawn_roads_have_ruts_and_puddles_often() -> None:
    roads = [draw_road(np.random.default_rng(k), REGIONS[0], (0.0, 150.0)) for k in range(20)]
    assert sum(bool(road.ruts) for road in roads) > 10
    assert sum(bool(road.puddles) for road in roads) > 10
    depths = np.concatenate([strip.depth_m for road in roads for strip in road.ruts])
    assert depths.min() >= 0.10
    assert depths.max() <= 0.30
