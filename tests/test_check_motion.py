import numpy as np
import pytest

from dataset.check.findings import FrameReport
from dataset.check.motion import (
    EXTRINSIC,
    POSE,
    check_motion,
    find_rule,
    frames_to_blame,
    jumps,
    velocity_errors_mps,
)


def pose(x=0.0, degrees=0.0):
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[0, 3] = x
    return matrix


def scene(poses, matrices=None):
    matrices = [None] * len(poses) if matrices is None else matrices
    return {
        f"{i}.0": FrameReport(f"{i}.0", world_from_imu=p, imu_or_world_from_lidar=m)
        for i, (p, m) in enumerate(zip(poses, matrices, strict=True))
    }


def test_jumps_by_speed_and_by_turning():
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    # 19 and 21 m in half a second; 44 and 46 degrees.
    poses = np.stack([pose(0), pose(19), pose(40), pose(40, 44), pose(40, 90)])
    assert jumps(times, poses).tolist() == [False, True, False, True]


def test_a_jump_in_no_time():
    assert jumps(np.zeros(2), np.stack([pose(0), pose(1)])).tolist() == [True]


@pytest.mark.parametrize(
    ("steps", "blamed"),
    [
        ("", []),
        ("0000", []),
        ("0110", [2]),  # Into and out of one frame.
        ("1100", [1]),
        ("0001", [4]),  # The last frame is off.
        ("1000", [0]),  # The first is.
        ("0100", [2]),  # The rest lies elsewhere: the frame after it.
        ("0111", [2, 3]),
        ("110011", [1, 5]),
    ],
)
def test_who_is_to_blame(steps, blamed):
    assert frames_to_blame(np.array([s == "1" for s in steps], bool)) == blamed


def test_a_wrong_pose_is_noted_at_its_frame():
    reports = scene([pose(0), pose(5), pose(900), pose(15)])
    assert check_motion(reports, dict.fromkeys(reports, "a")) == {}
    assert {stem: len(report.findings) for stem, report in reports.items()} == {
        "0.0": 0, "1.0": 0, "2.0": 1, "3.0": 0,
    }  # fmt: skip
    [finding] = reports["2.0"].findings
    assert (finding.check, finding.path) == ("pose_jump", "vehicle_infos/2.0.txt")


def test_scenes_are_apart_and_frames_of_none_are_left_out():
    reports = scene([pose(0), pose(5), pose(900), pose(905), pose(5000)])
    scene_of = {"0.0": "a", "1.0": "a", "2.0": "b", "3.0": "b", "absent": "b", "9.0": "b"}
    check_motion(reports, scene_of)
    assert not any(report.findings for report in reports.values())


@pytest.mark.parametrize("odd", [0, 2, 4])
def test_one_matrix_that_turns_otherwise_is_wrong(odd):
    matrices = np.stack([pose(1, 90 if i == odd else 3) for i in range(5)])
    frames = list(scene(matrices).values())
    assert find_rule(frames, matrices) == EXTRINSIC
    assert [len(frame.findings) for frame in frames] == [int(i == odd) for i in range(5)]
    assert frames[odd].findings[0].check == "tr_velo_to_imu"


def test_matrices_that_all_turn_are_poses():
    matrices = np.stack([pose(i, i) for i in range(5)])
    frames = list(scene(matrices).values())
    assert find_rule(frames, matrices) == POSE
    assert not any(frame.findings for frame in frames)
    assert find_rule(frames[:1], matrices[:1]) == EXTRINSIC


def test_poses_in_the_calibration_are_followed_too():
    matrices = [pose(i, i) for i in range(4)]
    matrices[3] = pose(700, 3)
    reports = scene([pose()] * 4, matrices)
    assert check_motion(reports, dict.fromkeys(reports, "a")) == {"a": POSE}
    assert [f.path for report in reports.values() for f in report.findings] == ["calibs/3.0.txt"]


def moving(velocities):
    """Reports of a drive at 5 m/s along x, half a second apart."""
    reports = {}
    for i, velocity in enumerate(velocities):
        stem = f"{i / 2}"
        report = FrameReport(stem, world_from_imu=pose(2.5 * i), velocity_mps=velocity)
        report.imu_or_world_from_lidar = np.eye(4)
        reports[stem] = report
    return reports


def checks(reports):
    return [(f.check, f.path) for report in reports.values() for f in report.findings]


def test_velocities_that_the_poses_have():
    reports = moving([(5.0, 0.3, 0.0)] * 5)
    check_motion(reports, dict.fromkeys(reports, "a"))
    assert checks(reports) == []


def test_velocities_in_kmh_in_one_frame_and_in_all():
    one = moving([(18.0 if i == 2 else 5.0, 0.0, 0.0) for i in range(5)])
    check_motion(one, dict.fromkeys(one, "a"))
    assert checks(one) == [("velocity", "vehicle_infos/1.0.txt")]
    every = moving([(18.0, 0.0, 0.0)] * 5)
    check_motion(every, dict.fromkeys(every, "a"))
    assert len(checks(every)) >= 3


def test_a_pose_off_by_5_m_is_no_jump_but_contradicts_the_velocity():
    reports = moving([(5.0, 0.0, 0.0)] * 5)
    reports["1.0"].world_from_imu[1, 3] += 5.0
    check_motion(reports, dict.fromkeys(reports, "a"))
    assert checks(reports) == [("velocity", "vehicle_infos/1.0.txt")]


def test_no_velocity_and_long_gaps_are_not_compared():
    reports = moving([(0.0, 0.0, 0.0)] * 5)
    check_motion(reports, dict.fromkeys(reports, "a"))
    assert checks(reports) == []
    error, limit = velocity_errors_mps(
        np.array([0.0, 3.0]), np.stack([pose(0), pose(30)]), np.ones((2, 3))
    )
    assert error[0] < limit[0] == np.inf


def test_a_lidar_upside_down_is_tilted():
    reports = moving([(5.0, 0.0, 0.0)] * 3)
    for report in reports.values():
        report.world_from_imu[:3, :3] = np.diag([1.0, -1.0, -1.0])
    check_motion(reports, dict.fromkeys(reports, "a"))
    assert checks(reports) == [("tilt", f"vehicle_infos/{stem}.txt") for stem in reports]
    assert "tilted by 180°" in reports["0.0"].findings[0].message


def test_poses_of_a_straight_drive_in_the_calibration_are_no_extrinsic():
    matrices = [pose(2 * i) for i in range(4)]
    reports = scene([pose()] * 4, matrices)
    assert check_motion(reports, dict.fromkeys(reports, "a")) == {"a": POSE}
