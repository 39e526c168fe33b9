"""Overlap of clouds, and motion that no vehicle makes."""

import numpy as np
import pytest

from dataset.odometry.quality import PairQuality, implausible, motion, overlap, summary
from tests.drive_files import PERIOD_S, scene, sweep, true_poses, turn

STEMS = [f"{index}.0" for index in range(5)]
TIMES_S = [PERIOD_S * index for index in range(5)]
GOOD = PairQuality(np.full(4, 0.9), np.full(4, 0.02))


def test_overlap_counts_points_with_one_in_an_adjacent_voxel():
    points = np.array([[5.1, 0, 1], [10.1, 0, 1], [15.1, 0, 1], [25.1, 0, 1], [90.0, 0, 1]])
    ground = points - [0, 0, 2]
    cloud = np.concatenate([points, ground])  # The last is too far away.
    other = np.array([[5.35, 0, 1], [10.1, 0.5, 1], [15.1, 0.1, 1.1]])
    assert overlap(cloud, np.concatenate([other, ground]), np.eye(4)) == 0.5
    assert overlap(cloud, other[:0], np.eye(4)) == 0
    assert overlap(ground, ground, np.eye(4)) == 0  # The ground alone says nothing.


def test_overlap_tells_right_poses_from_wrong_ones():
    poses = true_poses(2)
    world = scene()
    first, second = (sweep(world, pose, index) for index, pose in enumerate(poses))
    right = np.linalg.inv(poses[0]) @ poses[1]
    wrong = right.copy()
    wrong[1, 3] += 1.0
    assert overlap(first, second, right) > 0.75
    assert overlap(first, second, wrong) < 0.3


def test_motion_between_frames():
    speeds, turns = motion(true_poses(5), TIMES_S)
    np.testing.assert_allclose(speeds, 8)
    np.testing.assert_allclose(turns, 5)


def test_good_poses_are_plausible():
    poses = true_poses(5)
    assert implausible(STEMS, poses, TIMES_S, GOOD, 0.6) is None
    found = summary(STEMS, poses, TIMES_S, PairQuality(np.array([0.9, 0.7, 0.8, 0.9]), np.ones(4)))
    assert found == {
        "frames": 5,
        "length_m": 3.2,
        "overlap_median": 0.85,
        "overlap_lowest": 0.7,
        "overlap_lowest_after": "1.0",
        "residual_median_m": 1.0,
        "speed_highest_mps": 8.0,
        "turn_highest_dps": 5.0,
    }
    unseen = PairQuality(np.ones(4), np.full(4, np.nan))
    assert summary(STEMS, poses, TIMES_S, unseen)["residual_median_m"] is None


def test_little_overlap_names_the_worst_frame():
    pairs = PairQuality(np.array([0.9, 0.5, 0.4, 0.9]), np.ones(4))
    found = implausible(STEMS, true_poses(5), TIMES_S, pairs, 0.6)
    assert found == (
        "frame 2.0: expected an overlap with the next cloud of at least 60%, found 40%; 2 of 4 "
        "steps fail, those after 1.0, 2.0"
    )


def fast(poses):
    poses[:, 0, 3] = 6.0 * np.arange(5)


def turned(poses):
    poses[3:, :3, :3] = turn(30)


def jump(poses):
    poses[3:, 0, 3] += 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fast, "expected a speed of at most 50 m/s, found 60 m/s; 4 of 4"),
        (turned, "frame 2.0: expected a turn rate of at most 120°/s, found 300°/s; 1 of 4"),
        (jump, "expected an acceleration of at most 30 m/s², found 64 m/s²; 2 of 4"),
    ],
)
def test_impossible_motion_is_named(change, message):
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 0, 3] = 0.8 * np.arange(5)
    change(poses)
    assert message in implausible(STEMS, poses, TIMES_S, GOOD, 0.6)
