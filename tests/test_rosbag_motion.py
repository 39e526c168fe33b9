"""Poses over time, transforms between frames, and clouds measured on the move."""

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")

from dataset.rosbag.matching import match_frames, usual_tolerance_ns
from dataset.rosbag.motion import Trajectory, TransformTree, deskewed
from tests.rosbag_files import Messages

SECOND = 10**9
LEVEL = (0.0, 0.0, 0.0, 1.0)
LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
"""90° to the left."""


def stamps(*seconds):
    return np.round(np.array(seconds) * SECOND).astype(np.int64)


def trajectory(*rows):
    return Trajectory.of(
        [(int(t * SECOND), (float(x), 0.0, 0.0, *turn)) for t, x, turn in rows], "/pose"
    )


def test_poses_are_interpolated():
    poses, known = trajectory((1, 10, LEFT), (0, 0, LEVEL)).at(stamps(0, 0.5, 1))
    assert known.all()
    np.testing.assert_allclose(poses[:, 0, 3], [0, 5, 10])
    angles = np.degrees(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))
    np.testing.assert_allclose(angles, [0, 45, 90])


def test_a_quaternion_and_its_negative_are_the_same_rotation():
    negative = tuple(-value for value in LEVEL)
    poses, _ = trajectory((0, 0, LEVEL), (1, 0, negative)).at(stamps(0.3))
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-12)


def test_poses_are_not_extrapolated_nor_interpolated_over_gaps():
    path = trajectory((0, 0, LEVEL), (1, 1, LEVEL), (2.5, 2, LEVEL))
    _, known = path.at(stamps(-0.1, 0, 0.9, 1, 1.5, 2.5, 2.6))
    assert known.tolist() == [False, True, True, True, False, True, False]


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, np.nan)])
def test_impossible_poses_are_refused(turn):
    with pytest.raises(ValueError, match="/pose: expected finite poses with unit quaternions"):
        trajectory((0, 0, LEVEL), (1, 0, turn))


def tree(*rows, is_static=True):
    messages = Messages()
    found = TransformTree("a.bag")
    found.add(messages.transforms(*rows), is_static=is_static)
    return found


def test_a_chain_of_transforms():
    found = tree(
        ("base", "mast", (1, 0, 0), LEFT, 0),
        ("mast", "lidar", (0, 0, 2), LEVEL, 0),
        ("base", "/camera", (0, 1, 0), LEVEL, 0),
    )
    matrices, known = found.at("camera", "lidar", stamps(5, 6))
    assert known.all()
    # A point 1 m ahead of the LiDAR is 1 m left of the mast, which is 1 m ahead of the base.
    np.testing.assert_allclose(matrices[1] @ [1, 0, 0, 1], [1, 0, 2, 1], atol=1e-12)
    back, _ = found.at("lidar", "camera", stamps(5))
    np.testing.assert_allclose(back[0] @ matrices[0], np.eye(4), atol=1e-12)


def test_transforms_over_time_are_interpolated():
    found = tree(("map", "base", (0, 0, 0), LEVEL, 0), ("map", "base", (4, 0, 0), LEVEL, SECOND),
        is_static=False)  # fmt: skip
    found.add(Messages().transforms(("base", "lidar", (0, 0, 2), LEVEL, 0)), is_static=True)
    matrices, known = found.at("map", "lidar", stamps(0.5, 2))
    np.testing.assert_allclose(matrices[0, :3, 3], [2, 0, 2])
    assert known.tolist() == [True, False]


def test_a_transform_that_was_sent_once_is_static():
    _, known = tree(("a", "b", (0, 0, 0), LEVEL, 0), is_static=False).at("a", "b", stamps(99))
    assert known.all()


def test_frames_that_are_not_connected_are_refused():
    found = tree(("base", "lidar", (0, 0, 0), LEVEL, 0))
    with pytest.raises(ValueError, match=r"a.bag: .* from the frame 'lidar' to 'camera', found"):
        found.at("camera", "lidar", stamps(0))
    circle = tree(("a", "b", (0, 0, 0), LEVEL, 0), ("b", "a", (0, 0, 0), LEVEL, 0))
    with pytest.raises(ValueError, match="found a circle of the transforms of b, a"):
        circle.at("c", "b", stamps(0))


def test_a_wall_seen_on_the_move_becomes_straight():
    times_ns = stamps(0, 0.05, 0.1, 0.05)
    path = trajectory((0, 0, LEVEL), (0.1, 1, LEFT))
    poses, _ = path.at(np.unique(times_ns))
    world = np.array([[10, -2, 0], [10, 0, 1], [10, 2, 0], [10, 4, 0]], float)
    index = [0, 1, 2, 1]
    seen = np.stack(
        [np.linalg.inv(poses[i])[:3] @ [*point, 1] for i, point in zip(index, world, strict=True)]
    )
    cloud = np.column_stack([seen, [7, 8, 9, 10]]).astype(np.float32)
    moved = deskewed(cloud, times_ns, poses[0], np.unique(times_ns), poses)
    np.testing.assert_allclose(moved[:, :3], world, atol=1e-5)
    np.testing.assert_array_equal(moved[:, 3], [7, 8, 9, 10])


def match(clouds, images, tolerance):
    frames, left_out = match_frames(
        stamps(*clouds), {"front": stamps(*images)}, round(tolerance * SECOND)
    )
    return [(frame.stamp_ns / SECOND, frame.images["front"] / SECOND) for frame in frames], left_out


def test_each_cloud_gets_the_nearest_image():
    frames, left_out = match([1, 1.1, 1.2], [0.97, 1.01, 1.08, 1.13, 1.3], 0.05)
    assert frames == [(1, 1.01), (1.1, 1.08)]
    assert left_out == {
        "clouds without an image of 'front' within 50 ms": 1,
        "images of 'front' without a complete frame": 3,
    }


def test_an_image_is_used_once_by_the_closer_cloud():
    frames, _ = match([1, 1.1], [1.06], 0.2)
    assert frames == [(1.1, 1.06)]
    assert match([1, 1.1], [], 0.2)[0] == []


def test_the_tolerance_includes_its_limit():
    assert match([1], [1.05], 0.05)[0]
    assert not match([1], [1.0501], 0.05)[0]


def test_the_usual_tolerance_is_half_a_period():
    assert usual_tolerance_ns(stamps(0, 0.1, 0.2, 0.9)) == 50_000_000
    assert usual_tolerance_ns(stamps(0)) == 50_000_000


def test_a_stem_has_all_digits():
    frames, _ = match_frames(np.array([1_718_000_000_000_000_007]), {}, 0)
    assert frames[0].stem == "1718000000.000000007"
