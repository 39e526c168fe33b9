import numpy as np
import pytest

from dataset.corruptions import lidar
from dataset.minesim.sensors.lidar import rosette


def rng(seed=0):
    return np.random.default_rng(seed)


def spinning(beams, low_deg=-25.0, high_deg=15.0, columns=400, spread_deg=0.01):
    """A cloud of a spinning LiDAR, and the beam of each point."""
    draw = rng(1)
    beam = np.tile(np.arange(beams), columns)
    elevation = np.linspace(low_deg, high_deg, beams)[beam]
    elevation = np.deg2rad(elevation + spread_deg * draw.standard_normal(len(beam)))
    azimuth = np.repeat(np.linspace(-np.pi, np.pi, columns, endpoint=False), beams)
    return cloud_of(elevation, azimuth, draw), beam


def cloud_of(elevation, azimuth, draw):
    distance = draw.uniform(3, 80, len(elevation))
    flat = distance * np.cos(elevation)
    columns = (
        flat * np.cos(azimuth),
        flat * np.sin(azimuth),
        distance * np.sin(elevation),
        draw.random(len(elevation)),
    )
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("beams", [16, 32, 64, 128])
def test_beams_are_found_from_the_angles(beams):
    points, beam = spinning(beams)
    assert (lidar.beam_of_points(points) == beam).all()


@pytest.mark.parametrize("keep_every", [2, 4, 8])
def test_one_of_several_beams_is_kept(keep_every):
    points, beam = spinning(32)
    kept = lidar.drop_beams(points, rng(), keep_every=keep_every)
    assert len(np.unique(lidar.beam_of_points(kept))) == 32 / keep_every
    assert len(kept) == len(points) / keep_every
    assert len(beam) == len(points)


def test_fewer_beams_are_some_of_the_more():
    points, _ = spinning(32)
    halves, quarters = (lidar.drop_beams(points, rng(5), keep_every=n) for n in (2, 4))
    assert {tuple(point) for point in quarters} < {tuple(point) for point in halves}


def test_a_rosette_has_bands_for_beams():
    directions = rosette(0.3, 20_000)
    points = np.column_stack([20 * directions, np.ones(20_000)]).astype(np.float32)
    band = lidar.beam_of_points(points)
    assert len(np.unique(band)) == lidar.NUM_BANDS
    kept = lidar.drop_beams(points, rng(), keep_every=4)
    assert len(kept) / len(points) == pytest.approx(0.25, abs=0.03)


def test_points_are_lost_with_the_given_probability():
    points, _ = spinning(32)
    kept = [lidar.drop_points(points, rng(), share=share) for share in (0.7, 0.8, 0.9)]
    shares = [len(cloud) / len(points) for cloud in kept]
    assert shares == pytest.approx([0.3, 0.2, 0.1], abs=0.02)
    assert {tuple(point) for point in kept[2]} < {tuple(point) for point in kept[0]}


@pytest.mark.parametrize(("width_deg", "share"), [(360, 0.75), (360, 0.25), (120, 0.5)])
def test_the_middle_of_the_field_of_view_is_kept(width_deg, share):
    azimuth = np.deg2rad(rng().uniform(-width_deg / 2, width_deg / 2, 5000))
    points = cloud_of(np.zeros(5000), azimuth, rng())
    kept = lidar.narrow(points, rng(), share=share)
    widest = np.rad2deg(np.abs(np.arctan2(kept[:, 1], kept[:, 0]))).max()
    assert widest == pytest.approx(share * width_deg / 2, rel=0.01)
    assert len(kept) / len(points) == pytest.approx(share, abs=0.03)


def test_motion_blur_is_one_offset_and_small_own_ones():
    points, _ = spinning(32)
    moved = lidar.motion_blur(points, rng(), sigma_m=0.3)[:, :3] - points[:, :3]
    common = moved.mean(axis=0)
    assert np.abs(common).max() > 0.03
    assert (moved - common).std(axis=0) == pytest.approx([0.03, 0.03, 0.015], rel=0.05)
    commons = [
        lidar.motion_blur(points, rng(seed), sigma_m=0.3)[:, 0].mean() - points[:, 0].mean()
        for seed in range(60)
    ]
    assert np.std(commons) == pytest.approx(0.3, rel=0.3)  # Three standard deviations.


def test_crosstalk_moves_its_share_of_the_points_by_meters():
    points, _ = spinning(64)
    offset = lidar.crosstalk(points, rng(), share=0.01)[:, :3] - points[:, :3]
    is_moved = (offset != 0).any(axis=1)
    assert is_moved.mean() == pytest.approx(0.01, abs=0.002)
    assert offset[is_moved].std() == pytest.approx(3, rel=0.1)


def test_echoes_are_lost_on_vehicles_alone():
    points, _ = spinning(32)
    on_vehicle = points[:, 0] > 20
    kept = lidar.drop_echoes(points, rng(), on_vehicle=on_vehicle, share=0.85)
    assert (kept[:, 0] <= 20).sum() == (~on_vehicle).sum()
    assert (kept[:, 0] > 20).sum() / on_vehicle.sum() == pytest.approx(0.15, abs=0.02)


def test_a_cloud_is_lost_with_the_given_probability():
    points, _ = spinning(16, columns=2)
    lost = [len(lidar.missing(points, rng(seed), share=0.6)) == 0 for seed in range(1000)]
    assert np.mean(lost) == pytest.approx(0.6, abs=0.05)  # Three standard deviations.


def test_further_columns_stay_and_an_empty_cloud_stays_empty():
    points, _ = spinning(16)
    aged = np.column_stack([points, np.arange(len(points))]).astype(np.float32)
    empty = aged[:0]
    for function, level in (
        (lidar.drop_beams, dict(keep_every=2)),
        (lidar.drop_points, dict(share=0.5)),
        (lidar.narrow, dict(share=0.5)),
        (lidar.motion_blur, dict(sigma_m=0.2)),
        (lidar.crosstalk, dict(share=0.01)),
    ):
        changed = function(aged, rng(), **level)
        assert set(changed[:, 4]) <= set(aged[:, 4])
        assert function(empty, rng(), **level).shape == (0, 5)
