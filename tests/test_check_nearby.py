import numpy as np
import pytest

from dataset.check.nearby import is_near_cloud, is_near_voxels


@pytest.mark.parametrize("radius", [0.15, 0.3, 2.0])
def test_near_a_cloud_as_a_slow_search_finds(radius):
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (400, 3)).astype(np.float32)
    cloud = rng.uniform(-4, 4, (900, 3)).astype(np.float32)
    distance = np.linalg.norm(points[:, None].astype(np.float64) - cloud[None], axis=-1)
    expected = (distance <= radius).any(axis=1)
    assert expected.any()
    np.testing.assert_array_equal(is_near_cloud(points, cloud, radius), expected)


def test_a_neighbor_in_each_direction():
    step = 0.29
    for offset in np.argwhere(np.ones((3, 3, 3))) - 1:
        point = np.zeros((1, 3), np.float32)
        unit = offset / max(1.0, float(np.linalg.norm(offset)))
        cloud = (step * unit)[None].astype(np.float32)
        assert is_near_cloud(point, cloud, 0.3).all()
        if offset.any():
            assert not is_near_cloud(point, 1.1 * cloud, 0.3).any()


def test_nothing_is_near_nothing():
    none, one = np.empty((0, 3), np.float32), np.zeros((1, 3), np.float32)
    assert is_near_cloud(none, one, 1.0).shape == (0,)
    assert is_near_cloud(one, none, 1.0).tolist() == [False]
    assert is_near_cloud(one, one + 50, 1.0).tolist() == [False]


def test_near_voxels_are_the_27_around():
    voxels = np.zeros((6, 6, 6), bool)
    voxels[2, 2, 2] = True
    index = np.argwhere(np.ones(voxels.shape)).astype(np.int64)
    expected = (np.abs(index - 2) <= 1).all(axis=1)
    np.testing.assert_array_equal(is_near_voxels(index, voxels), expected)
    assert expected.sum() == 27


def test_the_grid_has_no_neighbors_around_its_edge():
    voxels = np.zeros((4, 4, 4), bool)
    voxels[0, 0, 0] = True
    corners = np.array([[3, 3, 3], [0, 0, 3], [1, 1, 1]])
    assert is_near_voxels(corners, voxels).tolist() == [False, False, True]
    assert voxels.sum() == 1  # The argument is left as it was.
