import numpy as np
import pytest

from dataset.minesim.sensors.lidar_models import LIDAR_MODELS
from dataset.minesim.sensors.rig import Camera, Rig, ego_truck


def test_horizon_is_at_37_percent_of_the_height():
    far = Rig(Camera(1920, 1200)).pixel_from_lidar @ np.array([1e6, 0.0, 0.0, 1.0])
    assert far[0] / far[2] == pytest.approx(960.0)
    assert far[1] / far[2] == pytest.approx(0.37 * 1200, abs=3.0)


def test_field_of_view_matches_the_recordings():
    camera = Camera(1920, 1200)
    half = np.rad2deg(np.arctan(960 / camera.focal_px[0]))
    assert 2 * half == pytest.approx(58.9, abs=0.1)


@pytest.mark.parametrize("size", [(480, 300), (640, 200), (1920, 1200)])
def test_a_point_keeps_its_relative_position_at_any_image_size(size):
    point = np.array([20.0, 3.0, 1.0, 1.0])
    u, v, depth = (Rig(Camera(*size)).pixel_from_lidar @ point)[:3]
    u_ref, v_ref, _ = (Rig(Camera(1920, 1200)).pixel_from_lidar @ point)[:3]
    assert u / depth / size[0] == pytest.approx(u_ref / depth / 1920)
    assert v / depth / size[1] == pytest.approx(v_ref / depth / 1200)


def test_rays_project_back_to_pixel_centers():
    camera = Camera(32, 20)
    rays = camera.rays.astype(np.float64)
    pixels = np.einsum("ik,khw->ihw", camera.p2[:, :3], rays)
    u, v = np.meshgrid(np.arange(32) + 0.5, np.arange(20) + 0.5)
    np.testing.assert_allclose(pixels[0], u, atol=1e-4)  # float32 rays
    np.testing.assert_allclose(pixels[1], v, atol=1e-4)
    assert (rays[2] == 1.0).all()


def test_left_in_the_vehicle_is_left_in_the_image_and_up_is_up():
    rig = Rig(Camera(1920, 1200))
    left = rig.pixel_from_lidar @ np.array([20.0, 1.0, 0.0, 1.0])
    high = rig.pixel_from_lidar @ np.array([20.0, 0.0, 1.0, 1.0])
    middle = rig.pixel_from_lidar @ np.array([20.0, 0.0, 0.0, 1.0])
    assert left[0] / left[2] < middle[0] / middle[2]
    assert high[1] / high[2] < middle[1] / middle[2]


VARIED = Rig(
    Camera(960, 600, 1300.0, (-0.5, 0.6, 3.1), yaw_deg=2.0, pitch_deg=8.0, roll_deg=-1.0),
    LIDAR_MODELS["hdl_32e"],
    1.9,
)


@pytest.mark.parametrize("rig", [Rig(Camera(96, 60)), VARIED])
def test_poses_are_rigid_and_chain(rig):
    camera = rig.camera.vehicle_from_cam
    for pose in (camera, rig.vehicle_from_lidar, rig.cam_from_lidar):
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(camera @ rig.cam_from_lidar, rig.vehicle_from_lidar, atol=1e-12)
    assert rig.vehicle_from_lidar[2, 3] == rig.lidar_height_m


def test_mounting_turns_the_camera():
    level = Camera(960, 600, pitch_deg=0.0)
    ahead = np.array([50.0, 0.0, level.position_m[2]])

    def pixel(camera, point):
        local = np.linalg.inv(camera.vehicle_from_cam) @ np.append(point, 1.0)
        u, v, depth = camera.p2 @ local
        return u / depth, v / depth

    def turned(**angles):
        return Camera(960, 600, **({"pitch_deg": 0.0} | angles))

    assert pixel(level, ahead) == pytest.approx((480.0, 300.0))
    assert pixel(turned(yaw_deg=2.0), ahead)[0] > 490  # It looks left: the road moves right.
    assert pixel(turned(pitch_deg=2.0), ahead)[1] < 290  # It looks down: the road moves up.
    u, v = pixel(turned(roll_deg=5.0), ahead - np.array([0.0, 10.0, 0.0]))
    assert u > 480
    assert v < 300  # It turns clockwise: the right side moves up.
    aside = ahead - np.array([0.0, 5.0, 0.0])
    wide, long = (pixel(Camera(960, 600, f), aside)[0] for f in (1200.0, 2200.0))
    assert wide < long  # The longer lens magnifies.


def test_ego_truck_stands_behind_the_lidar_and_on_the_ground():
    vertices, faces = ego_truck()
    assert vertices[:, 0].max() < 0
    assert vertices[:, 2].min() > 0
    assert faces.max() == len(vertices) - 1


def test_rejects_an_image_too_small_for_labels():
    with pytest.raises(ValueError, match="at least 16×16"):
        Camera(8, 300)
