import numpy as np
import pytest

from dataset.minesim.sensors.texture import clouds, grain, grooves, streaks, wrapped


def _line(count=4000, step=0.013):
    x = np.arange(count, dtype=np.float32) * step
    return x, np.full_like(x, 0.37)


def test_grain_fades_as_the_pixel_widens():
    x, y = _line()
    spread = [grain().sample(x, y, np.full_like(x, width))[1].std() for width in (0.01, 0.3, 3.0)]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


def test_grain_is_centered_and_moderate():
    x, y = np.random.default_rng(0).uniform(0, 16, (2, 20_000)).astype(np.float32)
    values = grain().sample(x, y, np.full_like(x, 0.01))
    assert np.abs(values[:3].mean(axis=1)).max() < 0.05
    assert 0.1 < values[0].std() < 0.6
    assert np.abs(values).max() <= 128 / 96


def test_grain_tiles_to_negative_coordinates():
    pattern = grain()
    period = np.float32(pattern.size * pattern.texel_m)
    # At texel centers, so that rounding cannot move a coordinate into the next texel.
    x = (np.arange(200, dtype=np.float32) + 0.5) * np.float32(pattern.texel_m)
    width = np.full_like(x, 0.01)
    here = pattern.sample(x, x[::-1], width)
    np.testing.assert_array_equal(pattern.sample(x - period, x[::-1] - period, width), here)


@pytest.mark.parametrize("tile", [streaks, grooves, clouds])
def test_tiles_are_smooth_periodic_and_of_unit_variance(tile):
    pattern = tile()
    rows, columns = (edge - 1 for edge in pattern.pattern.shape)
    assert pattern.pattern[:-1, :-1].std() == pytest.approx(1.0, abs=1e-3)
    along = np.linspace(0, rows * pattern.texel[0], 3001, dtype=np.float32)
    across = np.full_like(along, 0.3)
    values = pattern.sample(along, across)
    assert values[0] == pytest.approx(values[-1], abs=1e-2)
    beyond = pattern.sample(along, across + np.float32(columns * pattern.texel[1]))
    np.testing.assert_allclose(values, beyond, atol=0.02)  # float32 coordinates


def test_streaks_run_along_the_road():
    x = np.linspace(0, 20, 2000, dtype=np.float32)
    fixed = np.full_like(x, 3.0)
    along, across = streaks().sample(x, fixed), streaks().sample(fixed, x)
    assert np.abs(np.diff(across)).mean() > 5 * np.abs(np.diff(along)).mean()


def test_sampling_between_texels_is_bilinear():
    pattern = streaks()
    low, high = pattern.pattern[2, 5], pattern.pattern[2, 6]
    at = pattern.sample(
        np.array([2 * pattern.texel[0]], np.float32), np.array([5.5 * pattern.texel[1]], np.float32)
    )
    assert at[0] == pytest.approx((low + high) / 2, abs=1e-2)  # OpenCV interpolates in 1/32 steps.


def test_sampling_no_points_gives_no_values():
    empty = np.empty(0, np.float32)
    assert streaks().sample(empty, empty).shape == (0,)


def test_coordinates_wrap_like_the_modulo():
    value = np.random.default_rng(1).normal(0, 3000, 10_000).astype(np.float32)
    value[:4] = 0.0, -1e-9, 512.0, -512.0
    np.testing.assert_array_equal(wrapped(value, 512), np.mod(value, np.float32(512)))
