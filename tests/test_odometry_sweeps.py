"""Clouds as odometry reads them, and their motion correction."""

import numpy as np
import pytest

from dataset.odometry.sweeps import (
    SweepOptions,
    corrected,
    point_times_s,
    read_sweep,
    rotation_vectors,
    velocities,
)
from tests.drive_files import PERIOD_S, true_poses, turn

AHEAD = np.array([8.0, 0, 0])


def write_cloud(path, rows):
    np.array(rows, "<f4").tofile(path)
    return path


def test_velocities_of_a_steady_turn():
    found = velocities(true_poses(5), [PERIOD_S * index for index in range(5)])
    expected = [0, 0, np.radians(5), 8, 0, 0]  # 0.5° and 0.8 m per step.
    np.testing.assert_allclose(found[1:4], np.tile(expected, (3, 1)), atol=0.05)


def test_points_are_moved_by_the_motion_since_the_stem():
    points = np.array([[10.0, 0, 0], [10.0, 0, 0], [0, 10.0, 0]])
    motion = np.array([0, 0, 0.1, 8.0, 0, 0])
    found = corrected(points, np.array([0, 0.05, -0.05]), motion)
    # A point that is measured 0.05 s later was 0.4 m farther ahead, and 0.005 rad to the left.
    np.testing.assert_allclose(found, [[10, 0, 0], [10.4, 0.05, 0], [-0.4 + 0.05, 10, 0]])


@pytest.mark.parametrize("spin_s", [0.1, -0.2])
def test_times_of_a_spinning_lidar_follow_from_the_azimuth(spin_s):
    rows = np.array([[5, 0, 0], [0, 5, 0], [0, -5, 0]], np.float32)
    found = point_times_s(rows, SweepOptions({}, spin_s=spin_s))
    np.testing.assert_allclose(found, [0, -spin_s / 4, spin_s / 4])  # Clockwise: left comes first.


def test_times_of_a_column(tmp_path):
    rows = [[10, 0, 0, 1, 0.05], [20, 5, 1, 2, 0.0], [0.5, 0, 0, 3, 0.0]]
    path = write_cloud(tmp_path / "1.bin", rows)
    options = SweepOptions({"columns": 5}, time_column=5)
    assert options.has_times
    still = read_sweep(path, options, None)
    np.testing.assert_allclose(still, [[10, 0, 0], [20, 5, 1]])  # The last is too close.
    moved = read_sweep(path, options, np.array([0, 0, 0, *AHEAD]))
    np.testing.assert_allclose(moved, [[10.4, 0, 0], [20, 5, 1]], atol=1e-6)


def test_without_times_points_stay(tmp_path):
    path = write_cloud(tmp_path / "1.bin", [[10, 0, 0, 1], [20, 5, 1, 2]])
    found = read_sweep(path, SweepOptions({}), np.array([0, 0, 0, *AHEAD]))
    np.testing.assert_allclose(found, [[10, 0, 0], [20, 5, 1]])


def test_clouds_without_far_points_are_refused(tmp_path):
    path = write_cloud(tmp_path / "1.bin", [[1, 0, 0, 1], [0, 1, 0, 1]])
    with pytest.raises(ValueError, match=r"1\.bin: expected points beyond 2 m, found 2 points"):
        read_sweep(path, SweepOptions({}), None)


def test_times_need_columns(tmp_path):
    np.save(tmp_path / "1.npy", np.ones((5, 5)))
    options = SweepOptions({"columns": 5}, time_column=5)
    with pytest.raises(ValueError, match=r"1\.npy: expected \.bin files, as calib\.json states"):
        read_sweep(tmp_path / "1.npy", options, None)


def test_rotation_vectors():
    found = rotation_vectors(np.stack([turn(90), np.eye(3), turn(-179)]))
    np.testing.assert_allclose(found[:, 2], np.radians([90, 0, -179]))
    np.testing.assert_allclose(found[:, :2], 0)
