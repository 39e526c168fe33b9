import numpy as np
import pytest

from dataset.minesim.write.nuscenes.rig import (
    BEAMS_DEG,
    NUM_BEAMS,
    RigCamera,
    ego_car,
    ego_from_sensor,
    turn,
)
from dataset.nuscenes.index import CAMERAS, LIDAR


def test_the_front_camera_faces_forward_and_its_image_is_upright():
    pose = ego_from_sensor("CAM_FRONT")
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=0.01)  # z forward
    np.testing.assert_allclose(pose[:3, 0], [0, -1, 0], atol=0.01)  # x right
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1], atol=0.01)  # y down
    assert pose[2, 3] == pytest.approx(1.51)


def test_the_lidar_has_x_to_the_right_and_y_forward():
    pose = ego_from_sensor(LIDAR)
    np.testing.assert_allclose(pose[:3, 0], [0, -1, 0], atol=0.01)
    np.testing.assert_allclose(pose[:3, 1], [1, 0, 0], atol=0.03)
    np.testing.assert_allclose(pose[:3, 2], [0, 0, 1], atol=0.03)
    np.testing.assert_allclose(pose[:3, 3], [0.94, 0, 1.84])


@pytest.mark.parametrize("channel", [*CAMERAS, LIDAR])
def test_poses_are_right_handed_rotations(channel):
    rotation = ego_from_sensor(channel)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("channel", "side"),
    [("CAM_FRONT_LEFT", (1, 1)), ("CAM_FRONT_RIGHT", (1, -1)), ("CAM_BACK", (-1, 0)),
     ("CAM_BACK_LEFT", (-1, 1)), ("CAM_BACK_RIGHT", (-1, -1))],
)  # fmt: skip
def test_cameras_face_the_directions_of_their_names(channel, side):
    assert tuple(np.sign(np.round(ego_from_sensor(channel)[:2, 2], 2))) == side


def test_six_cameras_cover_360_degrees():
    angle = np.deg2rad(np.arange(0, 360, 0.5))
    points = np.stack([30 * np.cos(angle), 30 * np.sin(angle), np.full_like(angle, 1.5)], axis=1)
    views = np.zeros(len(points), int)
    for channel in CAMERAS:
        camera = RigCamera(channel, 160, 90)
        local = (points - camera.vehicle_from_cam[:3, 3]) @ camera.vehicle_from_cam[:3, :3]
        u, v, depth = (local @ camera.intrinsic.T).T
        inside = (depth > 0) & (u >= 0) & (u < 160 * depth) & (v >= 0) & (v < 90 * depth)
        views += inside
    assert views.min() >= 1
    assert views.max() == 2


@pytest.mark.parametrize(("channel", "degrees"), [("CAM_FRONT", 70), ("CAM_BACK", 110)])
def test_field_of_view_does_not_depend_on_the_size(channel, degrees):
    for width, height in ((1600, 900), (160, 90), (320, 90)):
        focal_u, focal_v = RigCamera(channel, width, height).focal_px
        assert np.rad2deg(2 * np.arctan(0.5 * width / focal_u)) == pytest.approx(degrees)
        assert focal_v / height == pytest.approx(focal_u / width * 16 / 9)


def test_rays_invert_the_camera_matrix():
    camera = RigCamera("CAM_BACK_LEFT", 64, 36)
    pixel = camera.rays[:, 20, 50] @ camera.intrinsic.T
    np.testing.assert_allclose(pixel, [50.5, 20.5, 1.0], rtol=1e-6)
    assert camera.intrinsic[0, 2] != 32  # Off-center, as in the real cameras.


def test_a_turn_covers_360_degrees_with_each_beam():
    directions, ring = turn(8)
    assert directions.shape == (8 * NUM_BEAMS, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-6)
    elevation = np.rad2deg(np.arcsin(directions[:, 2]))
    np.testing.assert_allclose(elevation[ring == 0], BEAMS_DEG[0], atol=1e-4)
    np.testing.assert_allclose(elevation[ring == NUM_BEAMS - 1], BEAMS_DEG[1], atol=1e-4)
    top = directions[ring == 31]
    np.testing.assert_allclose(top[0, :2], [0, -np.cos(np.deg2rad(10.67))], atol=1e-6)  # Behind.
    assert top[1, 0] < 0  # Clockwise: from behind to the left.
    np.testing.assert_allclose(top.sum(axis=0)[:2], 0, atol=1e-5)


def test_the_car_stands_on_the_ground():
    vertices, faces = ego_car()
    assert vertices[:, 2].min() > 0
    assert vertices[:, 2].max() < 1.5  # Below the sensors.
    assert faces.max() == len(vertices) - 1


def test_rejects_an_unknown_camera_and_too_small_an_image():
    with pytest.raises(ValueError, match="unknown camera 'CAM_TOP'"):
        RigCamera("CAM_TOP", 160, 90)
    with pytest.raises(ValueError, match="at least 16×16 pixels, got 160×9"):
        RigCamera("CAM_FRONT", 160, 9)
