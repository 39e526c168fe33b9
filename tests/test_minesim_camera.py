from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.sensors.camera import CameraRenderer
from dataset.minesim.sensors.lidar import scan
from dataset.minesim.sensors.rig import (
    CAMERA_POSITION_M,
    LIDAR_HEIGHT_M,
    Camera,
    vehicle_from_lidar,
)
from dataset.minesim.sensors.stage import make_stage
from tests.minesim_world import TRUCK_BOX, tiny_world

CAMERA = Camera(240, 150)
TICK = 10


@pytest.fixture(scope="module")
def stage():
    return make_stage(tiny_world())


@pytest.fixture(scope="module")
def rendered(stage):
    return _take(stage)


def _take(stage, camera=CAMERA, seed=0):
    pose = stage.world.drive.world_from_vehicle[TICK]
    return CameraRenderer(stage, camera).take(pose, np.random.default_rng(seed))


def _pixel(x, y, z, camera=CAMERA):
    """Return row and column of a point in the vehicle frame."""
    u, v, depth = (camera.pixel_from_lidar @ np.array([x, y, z - LIDAR_HEIGHT_M, 1.0]))[:3]
    return int(v / depth), int(u / depth)


def test_ground_depth_matches_the_plane(rendered):
    row, column = _pixel(15.0, -1.0, 0.0)
    ray = CAMERA.rays[row, column]
    pitch = np.deg2rad(5.24)
    drop = np.cos(pitch) * ray[1] + np.sin(pitch) * ray[2]  # Drop per unit of depth.
    assert rendered.depth_m[row, column] == pytest.approx(CAMERA_POSITION_M[2] / drop, rel=1e-4)


def test_sky_has_no_depth_and_the_truck_occludes_the_ground(rendered):
    assert np.isinf(rendered.depth_m[:20, 120]).all()
    front = TRUCK_BOX[0][0] - TRUCK_BOX[1][0] / 2 - 6.0  # 6 m into the drive.
    row, column = _pixel(front, 4.0, 1.5)
    assert rendered.depth_m[row, column] == pytest.approx(front + 1.0, abs=0.6)


def test_sky_is_deep_above_and_pale_at_the_horizon(rendered):
    top, horizon = rendered.image[2, 120].astype(int), rendered.image[50, 120].astype(int)
    assert top[2] > top[0] + 60  # Blue.
    assert horizon.sum() > top.sum() + 60


def test_truck_shadow_points_away_from_the_sun(rendered):
    # The sun is behind on the right, so the shadow falls forward to the left.
    shaded = rendered.image[_pixel(24.5, 7.0, 0.0)].astype(int).sum()
    sunlit = rendered.image[_pixel(20.0, -1.0, 0.0)].astype(int).sum()
    assert shaded < 0.75 * sunlit


def test_ego_truck_casts_a_shadow_in_front_of_it(stage):
    low_sun = np.array([-0.95, -0.1, 0.3]) / np.linalg.norm([0.95, 0.1, 0.3])
    environment = replace(stage.world.environment, sun_direction=low_sun)
    rendered = _take(make_stage(replace(stage.world, environment=environment)))
    shaded = rendered.image[_pixel(13.0, 0.0, 0.0)].astype(int).sum()
    sunlit = rendered.image[_pixel(13.0, -6.5, 0.0)].astype(int).sum()
    assert shaded < 0.7 * sunlit
    assert rendered.depth_m[_pixel(11.0, 0.0, 0.0)] > 11.0  # The truck itself is invisible.


def test_lidar_points_match_the_depth_image(stage):
    camera = Camera(480, 300)
    rendered = _take(stage, camera)
    pose = stage.world.drive.world_from_vehicle[TICK] @ vehicle_from_lidar()
    points = scan(stage, pose, 1.0, np.random.default_rng(0)).points
    homogeneous = points[:, :3] @ camera.pixel_from_lidar[:3, :3].T + camera.pixel_from_lidar[:3, 3]
    depth = homogeneous[:, 2]
    points_in_view = (depth > 2) & (depth < 60)
    u, v = (homogeneous[points_in_view, :2] / depth[points_in_view, None]).T
    inside = (u >= 0) & (u < 480) & (v >= 0) & (v < 300)
    seen = rendered.depth_m[v[inside].astype(int), u[inside].astype(int)]
    error = np.abs(seen / depth[points_in_view][inside] - 1.0)
    # A ground pixel spans 2 % of depth at 25 m; the rest are edges and parallax.
    assert (error < 0.03).mean() > 0.9


def test_same_seed_same_image(stage, rendered):
    np.testing.assert_array_equal(_take(stage).image, rendered.image)
    assert (_take(stage, seed=1).image != rendered.image).any()


@pytest.mark.parametrize(("sky", "darkest", "brightest"), [
    ("clear", 90, 200), ("hazy", 90, 200), ("overcast", 90, 210), ("dusk", 8, 70),
])  # fmt: skip
def test_every_sky_is_exposed_well(sky, darkest, brightest):
    image = _take(make_stage(tiny_world(sky=sky))).image
    assert image.shape == (150, 240, 3)
    assert darkest < image.mean() < brightest


def test_haze_fades_distant_surfaces():
    clear = tiny_world()
    thick = replace(clear, environment=replace(clear.environment, haze_m=150.0))
    wall = _pixel(120.0, -12.0, 4.0)  # In the shade, so darker than the haze.
    assert _take(make_stage(thick)).image[wall].sum() > _take(make_stage(clear)).image[wall].sum()


def test_dust_lowers_contrast():
    spread = [
        _take(make_stage(tiny_world(dust=dust))).image[80:].astype(float).std()
        for dust in (0.0, 1.0)
    ]
    assert spread[1] < spread[0]


def test_snow_is_exposed_darker():
    bare, snowy = (_take(make_stage(tiny_world(snow=snow))).image.mean() for snow in (False, True))
    assert snowy < bare  # The same albedo here: only the exposure differs.
