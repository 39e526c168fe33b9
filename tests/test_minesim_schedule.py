import numpy as np
import pytest

from dataset.minesim.write.schedule import (
    FIRST_STAMP_S,
    SAMPLE_STEPS,
    SCENE_SPACING_S,
    drive_seconds,
    plan_frames,
)


def _plan(frames=8, scene=0, seed=0, *, sweeps=True):
    return plan_frames(frames, scene, np.random.default_rng(seed), sweeps=sweeps)


def test_samples_are_at_least_half_a_second_apart_on_the_clock():
    samples = [frame for frame in _plan(40) if frame.is_sample]
    steps = np.diff([frame.tick for frame in samples])
    assert len(samples) == 40
    assert set(steps.tolist()) == set(SAMPLE_STEPS)
    gaps = np.diff([float(frame.stem) for frame in samples])
    np.testing.assert_allclose(gaps, 0.1 * steps, atol=0.005)
    assert np.abs(gaps - 0.1 * steps).max() > 1e-4  # The clock jitters.


def test_one_sweep_is_between_two_samples():
    flags = [frame.is_sample for frame in _plan(5)]
    assert flags == [True, False] * 4 + [True]
    ticks = [frame.tick for frame in _plan(5)]
    assert ticks == sorted(set(ticks))


def test_samples_are_the_same_without_sweeps():
    assert _plan(sweeps=False) == tuple(frame for frame in _plan() if frame.is_sample)


def test_stems_are_times_with_six_digits_and_differ_between_scenes():
    frame = _plan(1)[0]
    assert frame.stem == f"{float(frame.stem):.6f}"
    assert FIRST_STAMP_S < float(frame.stem) < FIRST_STAMP_S + 65
    later = _plan(1, scene=3)[0]
    assert float(later.stem) - float(frame.stem) == pytest.approx(3 * SCENE_SPACING_S)


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_drive_always_outlasts_the_frames(frames):
    for seed in range(5):
        last = _plan(frames, seed=seed)[-1].tick
        assert 0.1 * last + 3.0 < drive_seconds(frames)


def test_rejects_a_scene_without_frames():
    with pytest.raises(ValueError, match="at least one frame, got 0"):
        _plan(0)
