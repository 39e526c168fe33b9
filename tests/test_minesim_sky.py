import numpy as np
import pytest

from dataset.minesim.scene.environment import SKIES, Environment
from dataset.minesim.sensors.sky import make_light

UP = np.array([[0.0, 0.0, 1.0]], np.float32)


def _environment(sky="clear", *, snow=False, sun=(0.6, 0.0, 0.8)):
    return Environment(np.array(sun), sky, haze_m=3912.0, dust=0.0, snow=snow)


@pytest.mark.parametrize("sky", SKIES)
def test_sky_is_finite_and_brightest_near_the_horizon(sky):
    light = make_light(_environment(sky))
    angle = np.deg2rad([0.5, 10.0, 60.0])
    away = np.stack([-np.cos(angle), 0 * angle, np.sin(angle)], axis=1).astype(np.float32)
    color = light.sky(away)
    assert np.isfinite(color).all()
    assert (color > 0).all()
    assert color[0].sum() > color[2].sum()


def test_glow_brightens_the_sky_around_the_sun():
    light = make_light(_environment())
    sun = light.sun_direction[None]
    beside = np.array([[0.0, 0.6, 0.8]], np.float32)  # Same elevation, about 90° away.
    assert light.sky(sun).sum() > light.sky(beside).sum() + 0.3


def test_sky_below_the_horizon_matches_the_horizon():
    light = make_light(_environment("clear", sun=(0.0, 0.0, 1.0)))
    level, below = light.sky(np.array([[1, 0, 0], [0.8, 0, -0.6]], np.float32))
    np.testing.assert_allclose(level, below, rtol=0.2)  # The glow differs slightly.


def test_low_sun_keeps_level_ground_exposed():
    high = make_light(_environment(sun=(0.6, 0.0, 0.8)))
    low = make_light(_environment(sun=(0.9539, 0.0, 0.3)))
    np.testing.assert_allclose(high.sun * 0.8, low.sun * 0.3, rtol=1e-3)


def test_no_sun_under_clouds_or_at_dusk():
    for sky in ("overcast", "dusk"):
        assert not make_light(_environment(sky)).sun.any()
    assert make_light(_environment("dusk")).is_dusk
    assert not make_light(_environment("clear")).is_dusk


def test_visual_range_leaves_two_percent():
    light = make_light(_environment())
    assert np.exp(-light.haze_per_m * 3912.0) == pytest.approx(0.02, rel=1e-2)


def test_snow_is_exposed_darker():
    assert (
        make_light(_environment(snow=True)).ambient.sum() < make_light(_environment()).ambient.sum()
    )


def test_sun_direction_is_normalized():
    light = make_light(_environment(sun=(3.0, 0.0, 4.0)))
    np.testing.assert_allclose(light.sun_direction, [0.6, 0.0, 0.8], atol=1e-6)
