"""Dust plumes."""

import numpy as np
import pytest

from dataset.minesim.scene.dust import Puffs, draw_puffs


def _one(extinction: float, size: float) -> Puffs:
    values = (np.array([value], np.float32) for value in (size, extinction))
    return Puffs(np.array([[10.0, 0.0, 0.0]], np.float32), *values)


RAYS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.9950372, 0.0995037, 0.0]], np.float32)
ORIGIN = np.zeros(3, np.float32)


@pytest.mark.parametrize("end", [4.0, 9.0, 10.0, 40.0, np.inf])
def test_optical_depth_is_the_integral_of_the_extinction(end: float) -> None:
    found = _one(0.2, 2.0).optical_depth(ORIGIN, RAYS, np.full(3, end, np.float32))
    steps = np.linspace(0.0, min(end, 40.0), 20_001)
    for ray, depth in zip(RAYS, found, strict=True):
        away = np.linalg.norm(steps[:, None] * ray - [10.0, 0.0, 0.0], axis=1)
        expected = 0.2 * np.trapezoid(np.exp(-0.5 * (away / 2.0) ** 2), steps)
        # A puff ends at three standard deviations, where 0.3 % of it are left.
        assert depth == pytest.approx(expected, abs=0.004)


def test_inside_a_puff_half_of_it_is_ahead() -> None:
    inside = np.array([10.0, 0.0, 0.0], np.float32)
    far = np.full(3, np.inf, np.float32)
    depth = _one(0.2, 2.0).optical_depth(inside, RAYS, far)
    np.testing.assert_allclose(depth, 0.2 * 2.0 * np.sqrt(np.pi / 2), rtol=1e-3)


def test_scattering_has_the_share_and_the_place_that_the_extinction_gives() -> None:
    rays = np.tile(RAYS[:1], (40_000, 1))
    reach = np.full(len(rays), 30.0, np.float32)
    first, depth = _one(0.15, 2.0).first_scattering(ORIGIN, rays, reach, np.random.default_rng(0))
    is_scattered = np.isfinite(first)
    assert is_scattered.mean() == pytest.approx(1.0 - np.exp(-2.0 * depth[0]), abs=0.01)
    steps = np.linspace(0.0, 30.0, 3001)
    sigma = 0.15 * np.exp(-0.5 * ((steps - 10.0) / 2.0) ** 2)
    density = sigma * np.exp(-2.0 * np.cumsum(sigma) * 0.01)
    expected = (steps * density).sum() / density.sum()
    assert first[is_scattered].mean() == pytest.approx(expected, abs=0.05)
    near = np.full(len(rays), 9.0, np.float32)
    first, _ = _one(0.15, 2.0).first_scattering(ORIGIN, rays, near, np.random.default_rng(0))
    assert first[np.isfinite(first)].max() <= 9.0 + 1e-3


def test_plumes_stand_on_the_road_and_at_machines() -> None:
    path = np.stack([np.arange(0.0, 60.0), np.zeros(60), np.zeros(60)], axis=1)
    machine = np.array([[30.0, 40.0, 0.0]])
    puffs = draw_puffs(np.random.default_rng(0), path, machine)
    again = draw_puffs(np.random.default_rng(0), path, machine)
    np.testing.assert_array_equal(puffs.center_m, again.center_m)
    beside = puffs.center_m[:, 1] > 25.0
    assert beside.sum() >= 10
    assert (~beside).sum() >= 10
    assert (puffs.center_m[:, 2] > 0.0).all()
    assert ((puffs.extinction_per_m > 0.0) & (puffs.extinction_per_m < 0.4)).all()
