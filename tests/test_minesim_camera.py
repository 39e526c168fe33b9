from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.dust import Puffs
from dataset.minesim.scene.world import SceneObject
from dataset.minesim.sensors.camera import CameraRenderer
from dataset.minesim.sensors.lidar import scan
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS
from dataset.minesim.sensors.rig import CAMERA_POSITION_M, Camera, Rig
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
    rig = Rig(camera)
    u, v, depth = (rig.pixel_from_lidar @ np.array([x, y, z - rig.lidar_height_m, 1.0]))[:3]
    return int(v / depth), int(u / depth)


def test_ground_depth_matches_the_plane(rendered):
    row, column = _pixel(15.0, -1.0, 0.0)
    ray = CAMERA.rays[:, row, column]
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
    _check_agreement(stage, Rig(Camera(480, 300)))


def test_lidar_points_match_the_depth_image_on_another_rig(stage):
    camera = Camera(480, 300, 1300.0, (-0.4, 0.7, 3.0), yaw_deg=3.0, pitch_deg=7.0, roll_deg=1.5)
    _check_agreement(stage, Rig(camera, LIDAR_MODELS["at128"], 2.1))


def _check_agreement(stage, rig):
    rendered = _take(stage, rig.camera)
    pose = stage.world.drive.world_from_vehicle[TICK] @ rig.vehicle_from_lidar
    points = scan(stage, pose, 1.0, np.random.default_rng(0), model=rig.lidar).points
    homogeneous = points[:, :3] @ rig.pixel_from_lidar[:3, :3].T + rig.pixel_from_lidar[:3, 3]
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


def _with(world, **changes):
    return make_stage(replace(world, environment=replace(world.environment, **changes)))


def test_a_plume_hazes_the_image_by_its_optical_depth(stage, rendered):
    center, size = np.array([[18.0, 4.0, 2.0]], np.float32), np.array([1.5], np.float32)
    plumes = Puffs(center, size, np.array([0.4], np.float32))
    found = _take(_with(stage.world, plumes=plumes))
    changed = np.abs(found.image.astype(int) - rendered.image.astype(int)).sum(axis=2)
    truck = _pixel(20.1, 4.0, 2.0)  # Its rear, 8 m behind the plume.
    assert changed[truck] > 60
    assert changed[:, 150:].max() < 3  # Nothing to the right.
    np.testing.assert_array_equal(found.depth_m, rendered.depth_m)
    solid = _take(_with(stage.world, plumes=replace(plumes, extinction_per_m=size * 10)))
    window = solid.image[truck[0] - 2 : truck[0] + 3, truck[1] - 2 : truck[1] + 3]
    assert window.reshape(-1, 3).std(axis=0).max() < 5  # Only dust is left to see.


def test_night_is_dark_except_near_the_lights(stage, rendered):
    mast = SceneObject("light mast", 0, np.array([52.0, -3.0, 4.0]), np.array([2.2, 2, 8]), 3.1)
    dark, lit = (
        _take(make_stage(replace(tiny_world(sky="night"), objects=objects))).image.astype(int)
        for objects in ((), (mast,))
    )
    assert dark.mean() < 0.5 * rendered.image.mean()
    assert dark[_pixel(15.0, 0.0, 0.0)].sum() > 3 * dark[_pixel(45.0, 18.0, 0.0)].sum()
    near, far = _pixel(43.0, -3.0, 0.0), _pixel(150.0, 0.0, 0.0)
    assert lit[near].sum() > dark[near].sum() + 60
    assert abs(lit[far].sum() - dark[far].sum()) < 30


def test_headlights_cast_shadows_behind_the_truck():
    dark = _take(make_stage(tiny_world(sky="night"))).image.astype(int)
    behind, beside = _pixel(34.0, 4.0, 5.0), _pixel(19.9, 4.0, 1.5)
    assert dark[beside].sum() > 2 * dark[behind].sum()


def test_a_low_sun_glares_unless_it_is_hidden():
    ahead = np.array([0.99, 0.05, 0.12]) / np.linalg.norm([0.99, 0.05, 0.12])
    world = tiny_world(sky="low_sun")
    glaring = _take(_with(world, sun_direction=ahead)).image.astype(int)
    away = _take(_with(world, sun_direction=ahead * [-1.0, 1.0, 1.0])).image.astype(int)
    assert glaring.max(axis=(0, 1)).min() >= 250  # The disc itself.
    sky = slice(0, 45)
    assert glaring[sky].mean() > away[sky].mean() + 10
    wall = replace(world, vertices=world.vertices.copy())
    on_truck = np.unique(wall.faces[wall.face_class == 2])
    wall.vertices[on_truck] += (wall.vertices[on_truck] - TRUCK_BOX[0]) * [0.0, 12.0, 6.0]
    hidden = _take(_with(wall, sun_direction=ahead)).image.astype(int)
    road = _pixel(12.0, -1.0, 0.0)
    assert hidden[road].sum() < glaring[road].sum()


def test_dirt_on_the_lens_stays_in_place_and_changes_no_depth(stage, rendered):
    dirty = [_take(_with(stage.world, lens_seed=seed)) for seed in (3, 3, 4)]
    change = [np.abs(d.image.astype(int) - rendered.image.astype(int)).sum(axis=2) for d in dirty]
    assert (change[0] > 30).mean() > 0.03
    np.testing.assert_array_equal(dirty[0].image, dirty[1].image)
    assert (dirty[0].image != dirty[2].image).mean() > 0.2
    np.testing.assert_array_equal(dirty[0].depth_m, rendered.depth_m)


def test_a_film_reflects_the_sky_at_grazing_angles(stage, rendered):
    world = stage.world
    wet = _take(make_stage(replace(world, face_film=np.ones(len(world.faces), np.float32))))
    gain = wet.image.astype(int) - rendered.image.astype(int)
    far, near = _pixel(60.0, 0.0, 0.0), _pixel(12.0, 0.0, 0.0)
    assert gain[far][2] > gain[near][2] + 10  # Blue of the sky.
