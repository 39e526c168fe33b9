import numpy as np
import pytest

from dataset.lidar_depth import depth_of_points

SIZE = (4, 6)
PIXEL_FROM_CAM = np.array([[2.0, 0, 3, 0], [0, 2.0, 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def points(*rows):
    return np.array(rows, np.float32).reshape(-1, 3)


def test_values_by_hand():
    # u = 2·x/z + 3, v = 2·y/z + 2.
    depth = depth_of_points(PIXEL_FROM_CAM, points([0, 0, 5], [4, -2, 4]), SIZE)
    expected = np.zeros(SIZE, np.float32)
    expected[2, 3] = 5  # Pixel (3.0, 2.0) is the corner of the pixel whose center is (3.5, 2.5).
    expected[1, 5] = 4
    np.testing.assert_array_equal(depth, expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_nearest_of_several_counts(order):
    rows = points([0, 0, 9], [0, 0, 3], [0, 0, 6])[list(order)]
    assert depth_of_points(PIXEL_FROM_CAM, rows, SIZE)[2, 3] == 3


def test_what_lies_outside_or_behind_is_no_depth():
    outside = points([-1.51, 0, 1], [1.5, 0, 1], [0, -1.01, 1], [0, 1, 1])
    behind = points([0, 0, -5], [0, 0, 0], [0, 0, 0.05])
    depth = depth_of_points(PIXEL_FROM_CAM, np.concatenate([outside, behind]), SIZE)
    assert not depth.any()
    assert depth_of_points(PIXEL_FROM_CAM, points(), SIZE).shape == SIZE


def test_against_a_slow_loop_and_further_columns_are_not_read():
    rng = np.random.default_rng(0)
    cloud = rng.uniform(-4, 9, (500, 5)).astype(np.float32)
    expected = np.zeros(SIZE, np.float32)
    for x, y, z in cloud[:, :3].astype(np.float64):
        if z < 0.1:
            continue
        u, v = int(np.floor(2 * x / z + 3)), int(np.floor(2 * y / z + 2))
        if 0 <= u < 6 and 0 <= v < 4 and (expected[v, u] == 0 or z < expected[v, u]):
            expected[v, u] = z
    before = cloud.copy()
    np.testing.assert_array_equal(depth_of_points(PIXEL_FROM_CAM, cloud, SIZE), expected)
    np.testing.assert_array_equal(cloud, before)
