import numpy as np

from dataset.check.calibration import camera_view, check_calibration, in_view
from dataset.check.findings import FrameReport
from tests.layout_files import Rig

SIZE = (60, 96)


def matrices(**changes):
    rig = Rig(SIZE)
    found = {"P2": np.eye(4), "R0_rect": np.eye(4), "Tr_velo_to_cam": rig.cam_from_lidar}
    found["P2"][:3], found["R0_rect"][:3, :3] = rig.p2, rig.r0_rect
    found["Tr_velo_to_imu"] = rig.imu_from_lidar
    return found | changes


def checked(found, cloud=None, size=SIZE):
    report = FrameReport("1.0", image_size=size)
    check_calibration(found, cloud, report)
    return report


def test_a_sound_calibration_has_no_findings_and_hands_its_last_matrix_on():
    report = checked(matrices())
    assert report.findings == []
    np.testing.assert_array_equal(report.imu_or_world_from_lidar, Rig(SIZE).imu_from_lidar)
    without = matrices()
    del without["Tr_velo_to_imu"]
    assert checked(without).imu_or_world_from_lidar is None
    assert checked(None).findings == []


def test_an_implausible_camera_is_warned_of():
    p2 = matrices()["P2"]
    p2[0, 2] = 97.0
    [finding] = checked(matrices(P2=p2)).findings
    assert (finding.check, finding.level) == ("principal_point", "warning")
    assert "at 101 % of the image's width and 40 % of its height" in finding.message
    assert checked(matrices(P2=p2), size=None).findings == []
    inverse = np.linalg.inv(Rig(SIZE).cam_from_lidar)
    findings = checked(matrices(Tr_velo_to_cam=inverse)).findings
    assert {finding.check for finding in findings} == {"up", "turn", "grid_in_view"}


def test_share_in_view_counts_returns_ahead_only():
    ahead = np.tile(np.float32([[20.0, 0.0, -1.0, 5.0]]), (30, 1))
    aside = np.tile(np.float32([[5.0, 60.0, 0.0, 5.0]]), (10, 1))
    behind = np.tile(np.float32([[-5.0, 0.0, 0.0, 5.0]]), (60, 1))
    cloud = np.vstack([ahead, aside, behind])
    assert checked(matrices(), cloud).measures["points_in_view"] == 0.75
    assert "points_in_view" not in checked(matrices(), cloud[:19]).measures  # Too few to tell.


def test_share_of_the_grid_in_view():
    share = checked(matrices()).measures["grid_in_view"]
    assert 0.5 < share < 0.65  # 59 degrees of a grid that starts 45 degrees to either side.
    away = matrices()["Tr_velo_to_cam"] @ np.diag([-1.0, -1.0, 1.0, 1.0])
    assert checked(matrices(Tr_velo_to_cam=away)).measures["grid_in_view"] == 0.0


def test_pixels_and_depths_of_a_camera_in_the_origin():
    identity = {"P2": np.eye(4), "R0_rect": np.eye(4), "Tr_velo_to_cam": np.eye(4)}
    identity["P2"][0, :3] = [10, 0, 4]
    identity["P2"][1, :3] = [0, 10, 2]
    view = camera_view(identity, (4, 8))
    points = np.array([[0, 0, 2], [0.5, 0.2, 2], [1, 0, 2], [0, 0, -2], [-0.801, 0, 2]], np.float32)
    is_inside, pixels, depth = in_view(points, view)
    # u = 10·x/z + 4, v = 10·y/z + 2; 9 and −0.005 are off the image of 8 columns.
    assert is_inside.tolist() == [True, True, False, False, False]
    assert pixels.tolist() == [[2, 4], [3, 6]]  # Row, column.
    assert depth.tolist() == [2.0, 2.0]


def test_no_view_without_an_inverse():
    assert camera_view(matrices(Tr_velo_to_cam=np.zeros((4, 4))), SIZE) is None
