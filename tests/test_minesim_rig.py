import numpy as np
import pytest

from dataset.minesim.sensors.rig import (
    LIDAR_HEIGHT_M,
    Camera,
    cam_from_lidar,
    ego_truck,
    vehicle_from_cam,
    vehicle_from_lidar,
)


def test_horizon_is_at_37_percent_of_the_height():
    camera = Camera(1920, 1200)
    far = camera.pixel_from_lidar @ np.array([1e6, 0.0, 0.0, 1.0])
    assert far[0] / far[2] == pytest.approx(960.0)
    assert far[1] / far[2] == pytest.approx(0.37 * 1200, abs=3.0)


def test_field_of_view_matches_the_recordings():
    camera = Camera(1920, 1200)
    half = np.rad2deg(np.arctan(960 / camera.focal_px[0]))
    assert 2 * half == pytest.approx(58.9, abs=0.1)


@pytest.mark.parametrize("size", [(480, 300), (640, 200), (1920, 1200)])
def test_a_point_keeps_its_relative_position_at_any_image_size(size):
    point = np.array([20.0, 3.0, 1.0, 1.0])
    u, v, depth = (Camera(*size).pixel_from_lidar @ point)[:3]
    u_ref, v_ref, _ = (Camera(1920, 1200).pixel_from_lidar @ point)[:3]
    assert u / depth / size[0] == pytest.approx(u_ref / depth / 1920)
    assert v / depth / size[1] == pytest.approx(v_ref / depth / 1200)


def test_rays_project_back_to_pixel_centers():
    camera = Camera(32, 20)
    rays = camera.rays.astype(np.float64)
    pixels = rays @ camera.p2[:, :3].T
    u, v = np.meshgrid(np.arange(32) + 0.5, np.arange(20) + 0.5)
    np.testing.assert_allclose(pixels[..., 0], u, atol=1e-4)  # float32 rays
    np.testing.assert_allclose(pixels[..., 1], v, atol=1e-4)
    assert (rays[..., 2] == 1.0).all()


def test_left_in_the_vehicle_is_left_in_the_image_and_up_is_up():
    camera = Camera(1920, 1200)
    left = camera.pixel_from_lidar @ np.array([20.0, 1.0, 0.0, 1.0])
    high = camera.pixel_from_lidar @ np.array([20.0, 0.0, 1.0, 1.0])
    middle = camera.pixel_from_lidar @ np.array([20.0, 0.0, 0.0, 1.0])
    assert left[0] / left[2] < middle[0] / middle[2]
    assert high[1] / high[2] < middle[1] / middle[2]


def test_poses_are_rigid_and_chain():
    for pose in (vehicle_from_cam(), vehicle_from_lidar(), cam_from_lidar()):
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(
        vehicle_from_cam() @ cam_from_lidar(), vehicle_from_lidar(), atol=1e-12
    )
    assert vehicle_from_lidar()[2, 3] == LIDAR_HEIGHT_M


def test_ego_truck_stands_behind_the_lidar_and_on_the_ground():
    vertices, faces = ego_truck()
    assert vertices[:, 0].max() < 0
    assert vertices[:, 2].min() > 0
    assert faces.max() == len(vertices) - 1


def test_rejects_an_image_too_small_for_labels():
    with pytest.raises(ValueError, match="at least 16×16"):
        Camera(8, 300)
