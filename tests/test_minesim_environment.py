"""Light and weather."""

import numpy as np
import pytest

from dataset.minesim.scene.environment import SKIES, Sky, draw_environment


def test_most_scenes_are_clear_and_all_skies_occur() -> None:
    drawn = [draw_environment(np.random.default_rng(k), 0.2, None, None) for k in range(300)]
    skies = [environment.sky for environment in drawn]
    assert set(skies) == set(SKIES)
    assert skies.count("clear") > 150
    assert 30 < sum(environment.snow for environment in drawn) < 90
    assert 20 < sum(environment.dust > 0 for environment in drawn) < 100
    assert not any(environment.snow and environment.dust > 0 for environment in drawn)


@pytest.mark.parametrize("sky", SKIES)
def test_given_values_are_kept(sky: Sky) -> None:
    environment = draw_environment(np.random.default_rng(1), 0.0, sky, True)
    assert environment.sky == sky
    assert environment.snow
    assert np.linalg.norm(environment.sun_direction) == pytest.approx(1.0)
    assert environment.sun_direction[2] > 0.0
    assert environment.haze_m >= 500.0


def test_the_sun_is_low_at_dusk() -> None:
    dusk = draw_environment(np.random.default_rng(2), 0.0, "dusk", None)
    assert dusk.sun_direction[2] < np.sin(np.radians(7.0))
