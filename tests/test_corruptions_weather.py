import numpy as np
import pytest

from dataset.corruptions import weather
from dataset.corruptions.depth import FAR_M, pixel_rays
from dataset.corruptions.dust import (
    DUST_INTENSITY,
    PLUME_M,
    TRIGGER_SHARE,
    Dust,
    dusty_cloud,
    dusty_image,
    foggy_image,
    veil,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def row_of_points(distances_m, intensity=0.3, count=1, height_m=0.0):
    """Points straight ahead."""
    distances_m = np.repeat(np.asarray(distances_m, np.float32), count)
    points = np.zeros((len(distances_m), 4), np.float32)
    points[:, 0], points[:, 2], points[:, 3] = distances_m, height_m, intensity
    return points


def even_dust(plume, site):
    return Dust(plume, site, np.ones((90, 360), np.float32))


# --- fog ---


def test_a_near_point_in_fog_is_attenuated_both_ways():
    points = row_of_points([5.0, 10.0, 20.0])
    fogged = weather.fog(points, rng(), alpha=0.02, beta=0.008)
    expected = 0.3 * np.exp(-2 * 0.02 * np.array([5.0, 10.0, 20.0]))
    assert fogged[:, 0].tolist() == [5.0, 10.0, 20.0]
    assert fogged[:, 3] == pytest.approx(expected, rel=1e-5)


def test_a_far_point_in_fog_is_an_echo_of_the_fog():
    points = row_of_points([90.0], count=50)
    fogged = weather.fog(points, rng(), alpha=0.03, beta=0.008)
    assert ((fogged[:, 0] > 1) & (fogged[:, 0] < 15)).all()
    assert np.unique(fogged[:, 0]).size > 10


def test_the_echo_of_fog_is_the_integral_of_the_paper():
    """Against a slow sum for one target, at many ranges of the echo."""
    table_m, peak_m, integral = weather._fog_echo(0.02)
    sums = []
    for echo_m in np.arange(0.5, 20, 0.1):
        time_s = (np.arange(4000) + 0.5) * 1e-11
        near_m = echo_m - weather.LIGHT_M_S * time_s / 2
        overlap = np.clip((near_m - 0.9) / 0.1, 0, 1)
        near_m = np.maximum(near_m, 0.9)
        pulse = np.sin(np.pi * time_s / 40e-9) ** 2
        sums.append((pulse * np.exp(-0.04 * near_m) / near_m**2 * overlap).sum() * 1e-11)
    place = int(np.argmin(np.abs(table_m - 50)))
    assert integral[place] == pytest.approx(max(sums), rel=0.02)
    assert peak_m[place] == pytest.approx(0.5 + 0.1 * np.argmax(sums), abs=0.3)


def test_denser_fog_leaves_fewer_points_where_they_were():
    points = row_of_points(np.linspace(2, 100, 500))
    moved = [
        (weather.fog(points, rng(), alpha=alpha, beta=beta)[:, 0] != points[:, 0]).mean()
        for alpha, beta in ((0.02, 0.008), (0.03, 0.008), (0.06, 0.05))
    ]
    assert 0 < moved[0] < moved[1] < moved[2] < 1


# --- snow ---


def test_the_mass_of_snow_in_the_air_is_what_falls():
    per_m3, slope = weather.snow_in_air(2.5, 1.6)
    volume_m3 = per_m3 * np.pi / slope**3  # The mean volume of a flake: π / slope³.
    fallen_mm_h = 3.6e6 * weather.SNOW_DENSITY * volume_m3 * 1.6
    assert fallen_mm_h == pytest.approx(2.5)


def test_the_strongest_flakes_are_those_of_a_slow_simulation():
    per_m3, slope = weather.snow_in_air(2.5, 1.6)
    draw = rng(1)
    strongest = []
    for _ in range(1500):
        # Flakes in a cylinder as wide as the beam at 60 m, and of them those in the beam.
        width_m = weather.APERTURE_M + weather.DIVERGENCE_RAD * 60
        count = draw.poisson(per_m3 * np.pi / 4 * width_m**2 * 59)
        range_m = draw.uniform(1, 60, count)
        beam_m = weather.APERTURE_M + weather.DIVERGENCE_RAD * range_m
        in_beam = draw.random(count) < (beam_m / width_m) ** 2
        range_m, beam_m = range_m[in_beam], beam_m[in_beam]
        diameter = draw.exponential(1 / slope, len(range_m))
        loss_m = np.maximum(range_m, weather.FOCUS_M)
        signal = weather.FLAKE_REFLECTANCE * (diameter / (beam_m * loss_m)) ** 2
        strongest.append((signal.max(), range_m[signal.argmax()]))
    found_m, found = weather._strongest_flakes(rng(2), 20_000, per_m3, slope)
    slow, slow_m = np.array(strongest).T
    quantiles = (0.1, 0.5, 0.9)
    assert np.quantile(found, quantiles) == pytest.approx(np.quantile(slow, quantiles), rel=0.15)
    assert np.quantile(found_m, 0.5) == pytest.approx(np.quantile(slow_m, 0.5), rel=0.1)


def test_more_snow_hides_more_of_what_is_far():
    points = row_of_points(np.linspace(2, 100, 4000), intensity=0.1)
    kept = []
    for rate, velocity in ((0.5, 1.2), (2.5, 1.6), (1.5, 0.4)):
        snowy = weather.snow(points, rng(), rate_mm_h=rate, velocity_m_s=velocity, floor=0.7)
        is_there = np.isin(snowy[:, 0], points[:, 0])
        near, far = ((is_there & (np.abs(snowy[:, 0] - middle) < 20)).sum() for middle in (22, 78))
        assert far < near
        kept.append(is_there.sum())
    assert kept[0] > kept[1] > kept[2]


# --- wet ground ---


def test_water_takes_more_light_at_grazing_incidence():
    cosine = np.array([1.0, 0.5, 0.1])
    share = weather.wet_share(cosine, np.full(3, 0.2))
    # Straight down: ((1.33 − 1) / (1.33 + 1))² is reflected, twice.
    passed = 1 - (0.33 / 2.33) ** 2
    assert share[0] == pytest.approx(passed**2 / (1.33**2 * (1 - 0.47 * 0.2)))
    assert share[0] > share[1] > share[2] > 0


def test_ground_is_wet_and_walls_stay_dry():
    draw = rng()
    ground = np.column_stack([draw.uniform(5, 60, 3000), draw.uniform(-9, 9, 3000)])
    ground = np.column_stack([ground, np.full(3000, -2.0), np.full(3000, 0.3)])
    wall = np.column_stack([np.full(500, 30.5), draw.uniform(-9, 9, 500)])
    wall = np.column_stack([wall, draw.uniform(-1.5, 2, 500), np.full(500, 0.3)])
    points = np.vstack([ground, wall]).astype(np.float32)
    is_ground = weather.is_ground(points)
    assert is_ground[:3000].all()
    assert not is_ground[3000:].any()
    kept = []
    for water_mm, floor in ((0.2, 0.3), (1.0, 0.3), (1.2, 0.7)):
        wet = weather.wet_ground(points, rng(), water_mm=water_mm, floor=floor)
        assert (wet[:, 2] > -1.6).sum() == 500
        kept.append(len(wet))
        assert wet[wet[:, 2] < -1.9, 3].max() < 0.3
    assert kept[0] >= kept[1] > kept[2]


# --- dust ---


def test_optical_depth_grows_in_the_plume_and_slowly_behind():
    dust = even_dust(0.1, 0.01)
    along = dust.plume_along(np.array([[1.0, 0.0, 0.0]]))
    depths = [float(dust.optical_depth(along, np.array([d]))[0]) for d in (1.0, 8.0, 15.0, 55.0)]
    assert depths == pytest.approx([0.01, 0.7 + 0.08, 1.4 + 0.15, 1.4 + 0.55])


def test_points_in_dust_follow_beer_and_lambert():
    points = row_of_points([6.0, 40.0], count=2000, intensity=0.5)
    dust = even_dust(0.02, 0.002)
    dusty = dusty_cloud(points, rng(), dust)
    for distance, depth in ((6.0, 0.02 * 5 + 0.002 * 6), (40.0, 0.02 * 14 + 0.002 * 40)):
        there = dusty[dusty[:, 0] == np.float32(distance)]
        assert there[:, 3] == pytest.approx(0.5 * np.exp(-2 * depth), rel=1e-5)
    is_dust = ~np.isin(dusty[:, 0], points[:, 0])
    assert (dusty[is_dust, 0] >= PLUME_M[0]).all()
    assert (dusty[is_dust, 0] <= PLUME_M[1]).all()
    assert dusty[is_dust, 3].max() <= DUST_INTENSITY
    # Half of the scattered share of the pulses triggers on the dust.
    expected = TRIGGER_SHARE * (1 - np.exp(-2 * 0.02 * np.array([5.0, 14.0]))).mean()
    assert is_dust.sum() / len(points) == pytest.approx(expected, rel=0.1)


def test_thick_dust_hides_what_is_far_from_the_lidar():
    points = row_of_points(np.linspace(2, 100, 3000))
    kept = []
    for plume, site in ((0.02, 0.002), (0.05, 0.004), (0.12, 0.008)):
        dusty = dusty_cloud(points, rng(), even_dust(plume, site))
        kept.append(np.isin(dusty[:, 0], points[:, 0]).sum())
        assert np.isin(dusty[:, 0], points[:, 0][points[:, 0] > 95]).sum() < 150
    assert kept[0] > kept[1] > kept[2]


def test_a_plume_is_uneven_with_a_mean_of_1():
    dust = Dust.draw(rng(), plume=0.1, site=0.0)
    assert dust.density.mean() == pytest.approx(1, abs=1e-4)
    assert dust.density.std() > 0.2
    directions = rng().standard_normal((50, 3))
    assert (dust.plume_along(directions) == dust.plume_along(3 * directions)).all()


def test_a_veil_hides_by_koschmieders_law():
    image = np.full((4, 4, 3), 100, np.uint8)
    color = np.ones(3, np.float32)
    veiled = veil(image, np.full((4, 4), np.log(2.0)), 2 * color)
    assert (veiled == 150).all()  # Half of 100 and half of 200.
    assert (veil(image, np.zeros((4, 4)), color) == image).all()


def test_haze_hides_what_is_far_from_the_camera():
    stripes = (np.indices((20, 40)).sum(axis=0) % 2 * 200).astype(np.uint8)
    image = stripes[..., None].repeat(3, axis=2)
    distance_m = np.tile(np.linspace(2, 120, 40, dtype=np.float32), (20, 1))
    directions = np.tile(np.array([1, 0, 0], np.float32), (20, 40, 1))
    for hazy in (
        foggy_image(image, rng(), distance_m, alpha=0.03),
        dusty_image(image, even_dust(0.02, 0.01), distance_m, directions),
    ):
        contrast = hazy[..., 1].astype(float).std(axis=0)
        assert contrast[0] > 1.5 * contrast[20] > 2.5 * contrast[39]


# --- depth ---

CAMERA = np.array([[0, -50, 0, 0], [0, 0, -50, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
CAMERA[:2, 0] = 32, 24  # Pixel centers at +0.5: the middle of 64 × 48.


def test_pixels_get_the_distance_of_the_points_they_show():
    y, z = (part.ravel() for part in np.meshgrid(np.linspace(-8, 8, 90), np.linspace(-6, 1, 60)))
    wall = np.column_stack([np.full(len(y), 10.0), y, z, np.ones(len(y))]).astype(np.float32)
    distance_m, directions = pixel_rays((48, 64), CAMERA, wall)
    assert directions.shape == (48, 64, 3)
    assert np.linalg.norm(directions, axis=-1) == pytest.approx(1, abs=1e-5)
    assert distance_m[24, 32] == pytest.approx(10, abs=0.1)
    assert distance_m[47, 63] == pytest.approx(10 / directions[47, 63, 0], rel=0.02)
    # The wall ends at the edge of the field of view: it goes on above.
    assert distance_m[0, 32] == pytest.approx(10 / directions[0, 32, 0], rel=0.02)


def test_above_low_points_is_sky():
    y = np.linspace(-8, 8, 200)
    ground = np.column_stack([np.full(200, 10.0), y, np.full(200, -2.0), np.ones(200)])
    mast = np.column_stack([np.full(5, 10.0), np.full(5, 7.9), np.linspace(0, 6, 5), np.ones(5)])
    points = np.vstack([ground, mast]).astype(np.float32)
    distance_m, _ = pixel_rays((48, 64), CAMERA, points)
    assert (distance_m[:20, 20:] == FAR_M).all()
    assert distance_m[40, 32] < 20
    assert (pixel_rays((48, 64), CAMERA, points[:0])[0] == FAR_M).all()
