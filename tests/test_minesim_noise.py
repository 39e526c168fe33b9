"""Gradient lattice noise."""

import numpy as np
import pytest

from dataset.minesim.scene.noise import Noise


@pytest.fixture(scope="module")
def noise() -> Noise:
    return Noise(np.random.default_rng(0))


def test_noise_vanishes_on_the_lattice_and_is_smooth(noise: Noise) -> None:
    corner = np.arange(-20.0, 20.0) * 7.0
    assert np.allclose(noise.smooth(corner, corner[::-1].copy(), 7.0), 0.0, atol=1e-6)
    x = np.linspace(-40.0, 40.0, 80_001)
    step = np.diff(noise.smooth(x, np.full_like(x, 3.3), 5.0))
    # The slope stays below 3 per wavelength: no jumps at cell borders.
    assert np.abs(step).max() < 3.0 / 5.0 * 0.001


def test_noise_fills_its_range(noise: Noise) -> None:
    x, y = np.random.default_rng(1).uniform(-900, 900, size=(2, 50_000))
    values = noise.smooth(x, y, 10.0)
    assert np.abs(values).max() < 1.3
    assert 0.2 < values.std() < 0.5
    assert abs(values.mean()) < 0.02


def test_fractal_is_the_sum_of_its_octaves(noise: Noise) -> None:
    x, y = np.random.default_rng(2).uniform(-50, 50, size=(2, 100))
    # Heights 4/7, 2/7, 1/7 add up to 1.
    by_hand = sum(
        2.0 ** (2 - k) / 7 * noise.smooth(x + 37.3 * k, y - 61.7 * k, 12.0 / 2**k) for k in range(3)
    )
    assert np.allclose(noise.fractal(x, y, 12.0, 3), by_hand, atol=1e-6)


def test_octaves_too_short_for_the_spacing_fade(noise: Noise) -> None:
    x, y = np.random.default_rng(3).uniform(-50, 50, size=(2, 100))
    assert np.allclose(noise.fractal(x, y, 12.0, 3, spacing_m=7.0), 0.0)
    # At 2 m the 12 m octave shows in full, the 6 m one by half, the 3 m one not at all.
    by_hand = 4 / 7 * noise.smooth(x, y, 12.0)
    by_hand = by_hand + 0.5 * 2 / 7 * noise.smooth(x + 37.3, y - 61.7, 6.0)
    assert np.allclose(noise.fractal(x, y, 12.0, 3, spacing_m=2.0), by_hand, atol=1e-6)


def test_noise_broadcasts_and_repeats(noise: Noise) -> None:
    x, y = np.arange(3.0)[:, None], np.arange(4.0)[None, :]
    grid = noise.fractal(x, y, 5.0, 2)
    assert grid.shape == (3, 4)
    full = np.broadcast_arrays(x, y)
    again = Noise(np.random.default_rng(0)).fractal(full[0], full[1], 5.0, 2)
    assert np.array_equal(grid, again)
