import logging

import numpy as np
import pytest
import torch

from dataset import layout
from dataset.minesim.write.nuscenes.rig import CAMERAS, RigCamera, ego_from_sensor
from dataset.registration import (
    FRAMES,
    WHOLE,
    RegistrationWatch,
    camera_pose,
    camera_problems,
    frame_shares,
    share_problems,
)
from tests.layout_files import Rig
from utils.geometry import VoxelGrid

SIZE = (60, 96)
GRID = layout.LABEL_GRID
AROUND = VoxelGrid((-40.0, -40.0, -1.0), 0.4, (200, 200, 16))


def projection(change=None, *, scale: float = 1.0) -> np.ndarray:
    """The tiny vehicle's camera, with a changed cam_from_lidar or a scaled translation."""
    rig = Rig(SIZE)
    camera = np.eye(4)
    camera[:3] = rig.p2
    cam_from_lidar = rig.cam_from_lidar
    cam_from_lidar[:3, 3] *= scale
    return camera @ (cam_from_lidar if change is None else change(cam_from_lidar))


def problems(matrix, size=SIZE, grid=GRID, crop=WHOLE):
    return camera_problems([matrix], size, grid, crop)


def ahead(count: int = 200, *, scale: float = 1.0) -> torch.Tensor:
    """Points on the ground 5–40 m ahead, within 2 m of the axis."""
    rng = np.random.default_rng(0)
    points = rng.uniform([5, -2, -2.7, 0], [40, 2, -2.6, 1], (count, 4))
    points[:, :3] *= scale
    return torch.from_numpy(points).float()


def test_the_geometry_of_a_camera():
    pose = camera_pose(projection())
    np.testing.assert_allclose(pose.principal_px, [48.0, 24.0])
    np.testing.assert_allclose(pose.position_m, [-1.0, 0.0, 2.0], atol=1e-9)
    down = np.deg2rad(5.0)
    np.testing.assert_allclose(pose.forward, [np.cos(down), 0.0, -np.sin(down)], atol=1e-9)
    np.testing.assert_allclose(pose.up, [np.sin(down), 0.0, np.cos(down)], atol=1e-9)


def test_a_sound_camera_has_no_problem():
    assert problems(projection()) == {}
    assert problems(projection(), grid=AROUND) == {}


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        (lambda t: t @ np.diag([-1.0, -1.0, 1.0, 1.0]), {"turn"}),  # Backward.
        (lambda t: np.diag([-1.0, -1.0, 1.0, 1.0]) @ t, {"up"}),  # Upside down.
        (np.linalg.inv, {"up", "turn"}),
    ],
)
def test_a_camera_that_stands_otherwise(change, causes):
    assert problems(projection(change)).keys() == causes


def test_a_camera_to_the_side_is_no_problem_for_a_grid_on_all_sides():
    left = np.eye(4)
    left[:2, :2] = [[0, 1], [-1, 0]]
    matrix = projection(lambda t: t @ left)
    assert "turned by 90°" in problems(matrix)["turn"]
    assert problems(matrix, grid=AROUND) == {}
    assert camera_problems([matrix, projection()], SIZE, GRID) == {}  # Another one looks ahead.


def test_translations_in_millimeters():
    assert "is 2,236 m from the origin" in problems(projection(scale=1000.0))["distance"]


@pytest.mark.parametrize(("height", "width"), [(30, 48), (120, 192)])
def test_images_of_half_and_twice_the_size(height, width):
    found = problems(projection(), (height, width))
    assert found.keys() == {"principal_point"}
    assert f"at {100 * 48 / width:.0f} % of the image's width" in found["principal_point"]


def test_a_crop_is_taken_into_account():
    # The lower half of the image: the principal point, 40 % from the top, is above it.
    lower = np.eye(4)
    lower[1, 2] = -30.0
    assert problems(lower @ projection(), (30, 96)).keys() == {"principal_point"}
    assert problems(lower @ projection(), (30, 96), crop=(0.5, 0.0, 1.0, 1.0)) == {}


def test_shares_of_a_frame():
    shares = frame_shares([projection()], SIZE, ahead().numpy(), GRID)
    assert shares["points_in_images"] > 0.8
    assert shares["points_in_grid"] == 1.0
    assert shares["points_below_grid"] == 0.0
    assert 0.3 < shares["grid_in_images"] < 0.8
    assert share_problems(shares, GRID) == {}


def test_a_camera_or_a_lidar_alone_is_measured_too():
    assert frame_shares([projection()], SIZE, None, GRID).keys() == {"grid_in_images"}
    alone = frame_shares([], (0, 0), ahead().numpy(), GRID)
    assert alone.keys() == {"points", "range_m", "points_in_grid", "points_below_grid"}
    assert share_problems(frame_shares([], (0, 0), ahead(0).numpy(), GRID), GRID).keys() == {
        "points"
    }


def test_points_in_millimeters_and_of_another_height():
    found = share_problems(frame_shares([], (0, 0), ahead(scale=1000.0).numpy(), GRID), GRID)
    assert found.keys() == {"points_in_grid", "range_m"}
    assert "in meters" in found["range_m"]
    found = share_problems(frame_shares([], (0, 0), ahead().numpy(), AROUND), AROUND)
    assert found.keys() == {"points_in_grid", "points_below_grid"}
    assert (
        "100 % of the points are below the floor of the grid at -1 m"
        in (found["points_below_grid"])
    )


def test_a_warning_is_given_once_and_with_numbers(caplog):
    images = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    backward = projection(lambda t: t @ np.diag([-1.0, -1.0, 1.0, 1.0]))
    matrices = torch.from_numpy(backward)[None].float()
    watch = RegistrationWatch(GRID, WHOLE)
    for number in range(FRAMES + 2):
        watch.see(f"{number}.5", images, matrices, ahead())
    watch.close()
    lines = [record.getMessage() for record in caplog.records]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert lines[0].startswith("calibration (frame 0.5): no camera looks along x")
    assert f"(median of {FRAMES} frames): only 0.0 % of the points fall on an image" in lines[1]
    assert "only 0.0 % of the grid is in view" in lines[2]


def test_a_sound_recording_gets_no_warning_and_one_bad_frame_of_five_none_by_its_share(caplog):
    images = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    matrices = torch.from_numpy(projection())[None].float()
    watch = RegistrationWatch(GRID, WHOLE)
    watch.see("0", images, matrices, -ahead())
    for number in range(1, FRAMES):
        watch.see(f"{number}", images, matrices, ahead())
    watch.see("late", None, None, None)
    watch.close()
    assert caplog.records == []


def test_six_cameras_around_the_vehicle_are_sound_and_one_in_the_lidars_axes_is_not():
    cameras = [RigCamera(channel, 160, 90) for channel in CAMERAS]
    around = [_projection_of(camera, np.eye(4)) for camera in cameras]
    assert camera_problems(around, (90, 160), AROUND) == {}
    shares = frame_shares(around, (90, 160), None, AROUND)
    assert shares["grid_in_images"] > 0.9
    # The front camera in the frame of LIDAR_TOP, whose y is forward.
    front = cameras[CAMERAS.index("CAM_FRONT")]
    turned = [_projection_of(front, ego_from_sensor("LIDAR_TOP"))]
    assert camera_problems(turned, (90, 160), GRID).keys() == {"turn"}
    problem = share_problems(frame_shares(turned, (90, 160), None, GRID), GRID)
    assert problem["grid_in_images"].startswith("only 8.0 % of the grid")


def _projection_of(camera: RigCamera, vehicle_from_volume: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = camera.intrinsic
    return matrix @ np.linalg.inv(camera.vehicle_from_cam) @ vehicle_from_volume
