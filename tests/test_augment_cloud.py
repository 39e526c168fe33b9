import math

import numpy as np
import pytest

from dataset.augment.cloud import CloudChoices, CloudRanges, augment_cloud

EVERYTHING = CloudRanges(
    intensity_scale=0.3,
    intensity_offset=0.1,
    intensity_loss_prob=0.25,
    point_drop=0.5,
    beam_drop=0.6,
    range_cut_prob=0.5,
    range_cut_m=(20.0, 60.0),
    noise_m=0.1,
)


def rng():
    return np.random.default_rng(0)


def cloud(points=2000):
    random = np.random.default_rng(1)
    xyz = random.uniform((0, -30, -3), (80, 30, 5), (points, 3))
    rest = random.uniform(0, 1, (points, 2))
    return np.hstack([xyz, rest]).astype(np.float32)


def test_nothing_changes_by_default():
    points = cloud()
    assert CloudRanges().draw(rng()) == CloudChoices()
    assert augment_cloud(points, CloudChoices(), rng()) is points
    negative = points - 5.0  # Such a file is not mended here.
    assert augment_cloud(negative, CloudChoices(), rng()) is negative


def test_the_input_is_not_changed():
    points = cloud()
    before = points.copy()
    augment_cloud(points, CloudChoices(intensity_scale=0.5, noise_m=0.1), rng())
    np.testing.assert_array_equal(points, before)


def test_intensity_by_hand():
    points = np.array([[9, 0, 0, 0.5, 7], [9, 0, 0, 0.1, 8]], np.float32)
    changed = augment_cloud(points, CloudChoices(intensity_scale=1.2, intensity_offset=-0.2), rng())
    np.testing.assert_allclose(changed[:, 3], [0.4, 0.0], atol=1e-7)
    np.testing.assert_array_equal(changed[:, [0, 1, 2, 4]], points[:, [0, 1, 2, 4]])
    assert changed.dtype == np.float32
    assert not augment_cloud(points, CloudChoices(has_intensity=False), rng())[:, 3].any()


def test_a_share_of_the_points_is_dropped():
    points = cloud(20_000)
    kept = augment_cloud(points, CloudChoices(point_drop=0.3), rng())
    # Four standard deviations of a share among 20,000.
    assert len(kept) / len(points) == pytest.approx(0.7, abs=0.013)
    assert set(map(bytes, kept)) <= set(map(bytes, points))


def beams_of(points, beam_deg):
    elevation = np.rad2deg(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    return np.floor((elevation + 90) / beam_deg)


def test_whole_beams_are_dropped():
    points = cloud(20_000)
    kept = augment_cloud(points, CloudChoices(beam_drop=0.5, beam_deg=1.0), rng())
    before, after = (np.unique(beams_of(part, 1.0), return_counts=True) for part in (points, kept))
    count_of = dict(zip(*before, strict=True))
    assert all(count_of[beam] == count for beam, count in zip(*after, strict=True))
    assert 0.2 < len(after[0]) / len(before[0]) < 0.8


def test_beams_are_those_of_the_sensor():
    # The sensor stands 2 m up and is turned: its beams are not the elevations of the volume.
    points = cloud()
    sensor_from_cloud = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, -2], [0, 0, 0, 1.0]])
    seen = points.copy()
    seen[:, :3] = points[:, :3] @ sensor_from_cloud[:3, :3].T + sensor_from_cloud[:3, 3]
    choices = CloudChoices(beam_drop=0.5, max_range_m=50.0)
    kept = augment_cloud(points, choices, rng(), sensor_from_cloud)
    expected = augment_cloud(seen, choices, rng())
    np.testing.assert_array_equal(kept[:, 3:], expected[:, 3:])
    assert 0 < len(kept) < len(points)


def test_far_points_are_dropped():
    points = np.array([[3, 4, 0, 1], [3, 4, 0.1, 1], [60, 0, 0, 1]], np.float32)
    kept = augment_cloud(points, CloudChoices(max_range_m=5.001), rng())
    np.testing.assert_array_equal(kept, points[:1])


def test_noise_has_its_size():
    points = cloud(20_000)
    moved = augment_cloud(points, CloudChoices(noise_m=0.2), rng())
    assert (moved[:, :3] - points[:, :3]).std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_array_equal(moved[:, 3:], points[:, 3:])


def test_an_empty_cloud_stays_empty():
    empty = np.zeros((0, 5), np.float32)
    assert augment_cloud(empty, EVERYTHING.draw(rng()), rng()).shape == (0, 5)


def test_draws_fill_their_ranges():
    random = rng()
    draws = [EVERYTHING.draw(random) for _ in range(4000)]

    def span(name):
        values = [getattr(draw, name) for draw in draws if math.isfinite(getattr(draw, name))]
        return min(values), max(values)

    # 4,000 draws come within 1 % of the ends of a range almost surely.
    for name, ends in (
        ("intensity_scale", (0.7, 1.3)),
        ("intensity_offset", (-0.1, 0.1)),
        ("point_drop", (0.0, 0.5)),
        ("beam_drop", (0.0, 0.6)),
        ("max_range_m", (20.0, 60.0)),
        ("noise_m", (0.0, 0.1)),
    ):
        np.testing.assert_allclose(span(name), ends, atol=0.01 * (ends[1] - ends[0]), rtol=0)
    # Four standard deviations of a share among 4,000.
    assert np.mean([draw.has_intensity for draw in draws]) == pytest.approx(0.75, abs=0.028)
    cut = np.mean([math.isfinite(draw.max_range_m) for draw in draws])
    assert cut == pytest.approx(0.5, abs=0.032)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intensity_scale": 1.5}, r"intensity_scale must be in \[0, 1\], got 1.5"),
        ({"point_drop": 1.0}, r"point_drop must be in \[0, 1\), got 1.0"),
        ({"beam_drop": -0.1}, "beam_drop must be in"),
        ({"beam_deg": 0.0}, r"beam_deg must be in \(0, 180\], got 0.0"),
        ({"range_cut_m": (60.0, 20.0)}, "range_cut_m must be 0 < min <= max"),
        ({"noise_m": -0.1}, "noise_m must be at least 0, got -0.1"),
    ],
)
def test_bad_ranges_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        CloudRanges(**options)
