"""Flat pieces of clouds, and the equations that align to them."""

import numpy as np
import pytest

from dataset.odometry.alignment import small_motion
from dataset.odometry.surfaces import find_surfaces, match, thinned, voxel_keys
from tests.drive_files import turn

GRID = np.stack(np.meshgrid(np.arange(0.05, 1, 0.1), np.arange(0.05, 1, 0.1)), -1).reshape(-1, 2)
FLOOR = np.column_stack([GRID, np.full(len(GRID), 0.4)])  # Fills one voxel.


def test_a_floor_is_one_surface():
    found = find_surfaces(FLOOR)
    np.testing.assert_allclose(found.centers_m, [[0.5, 0.5, 0.4]])
    np.testing.assert_allclose(np.abs(found.normals), [[0, 0, 1]], atol=1e-9)
    assert found.keys == voxel_keys(np.array([[0.9, 0.1, 0.2]]), 1.0)


@pytest.mark.parametrize(
    "points",
    [
        np.column_stack([np.linspace(0, 0.9, 50), np.full((50, 2), 0.3)]),  # A line.
        np.random.default_rng(0).uniform(0, 1, (200, 3)),  # A bush.
        FLOOR[:5],
        np.zeros((0, 3)),
    ],
)
def test_other_points_are_no_surface(points):
    assert not len(find_surfaces(points).keys)


def test_voxels_below_zero_differ_from_those_above():
    points = np.array([[-0.1, 0, 0], [0.1, 0, 0], [0, -0.1, 0], [0, 0, -0.1], [0.2, 0, 0]])
    assert len(set(voxel_keys(points, 1.0))) == 4
    np.testing.assert_array_equal(thinned(points, 1.0), [True, True, True, True, False])


def cost(points, surfaces, transform, sigma_m):
    residuals = match(points, surfaces, transform, sigma_m).residuals_m
    return 0.5 * (sigma_m**2 * residuals**2 / (sigma_m**2 + residuals**2)).sum()


def test_equations_are_the_gradient_of_the_robust_cost():
    rng = np.random.default_rng(1)
    points = FLOOR + rng.normal(0, 0.02, FLOOR.shape)
    surfaces = find_surfaces(FLOOR + np.array([0, 0, 0.03]))
    src_pose, dst_pose = np.eye(4), np.eye(4)
    dst_pose[:3, :3] = turn(1)
    found = match(points, surfaces, np.linalg.inv(dst_pose) @ src_pose, 0.1)
    step = 1e-6
    for index in range(12):
        motion = np.zeros(12)
        motion[index] = step
        src = src_pose @ small_motion(motion[:6])
        dst = dst_pose @ small_motion(motion[6:])
        moved = cost(points, surfaces, np.linalg.inv(dst) @ src, 0.1)
        back = src_pose @ small_motion(-motion[:6]), dst_pose @ small_motion(-motion[6:])
        other = cost(points, surfaces, np.linalg.inv(back[1]) @ back[0], 0.1)
        assert found.right[index] == pytest.approx((moved - other) / (2 * step), abs=1e-5)
    np.testing.assert_allclose(found.matrix, found.matrix.T, atol=1e-9)


def test_points_off_all_surfaces_say_nothing():
    for surfaces in (find_surfaces(FLOOR), find_surfaces(FLOOR[:0])):
        found = match(FLOOR + 50, surfaces, np.eye(4), 0.1)
        assert not found.matrix.any()
        assert not len(found.residuals_m)


def test_a_small_motion_is_a_rotation_and_a_translation():
    expected = np.eye(4)
    expected[:3, :3] = turn(30)
    expected[:3, 3] = 1, 2, 3
    np.testing.assert_allclose(
        small_motion(np.array([0, 0, np.pi / 6, 1, 2, 3])), expected, atol=1e-12
    )
    np.testing.assert_array_equal(small_motion(np.zeros(6)), np.eye(4))
