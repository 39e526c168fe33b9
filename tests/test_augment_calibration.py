import numpy as np
import pytest

from dataset.augment.calibration import CalibrationRanges


def draw(seed=0, **ranges):
    return CalibrationRanges(**ranges).draw(np.random.default_rng(seed))


def test_there_is_no_error_by_default():
    np.testing.assert_array_equal(draw(), np.eye(4))


def test_an_error_is_rigid_and_in_its_range():
    for seed in range(20):
        error = draw(seed, rotation_deg=1.0, translation_m=0.1)
        np.testing.assert_allclose(error[:3, :3] @ error[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(error[:3, :3]) == pytest.approx(1.0)
        angle_deg = np.rad2deg(np.arccos((np.trace(error[:3, :3]) - 1) / 2))
        assert 0.0 < angle_deg < 1.0 * np.sqrt(3) + 1e-6
        assert (np.abs(error[:3, 3]) <= 0.1).all()
    assert not np.array_equal(draw(0, rotation_deg=1.0), draw(1, rotation_deg=1.0))


def test_rotation_and_translation_are_independent():
    both = draw(rotation_deg=1.0, translation_m=0.1)
    np.testing.assert_array_equal(draw(rotation_deg=1.0)[:3, :3], both[:3, :3])
    np.testing.assert_array_equal(draw(translation_m=0.1)[:3, 3], both[:3, 3])


def test_negative_ranges_are_rejected():
    with pytest.raises(ValueError, match="rotation_deg must be at least 0, got -1"):
        CalibrationRanges(rotation_deg=-1.0)
