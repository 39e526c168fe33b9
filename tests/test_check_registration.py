import numpy as np
import pytest

from dataset import layout
from dataset.check.registration import (
    depth_registration,
    elevation_registration,
    mean_cell_heights,
    voxel_registration,
    voxels_of,
)
from tests.test_check_agreement import CAMERA, cloud_of

GRID = layout.LABEL_GRID


def surface():
    """Indices (N, 3) of a slope with a wall on its left."""
    x, y = np.meshgrid(np.arange(20, 60), np.arange(100, 156), indexing="ij")
    ground = np.stack([x, y, 4 + (x - 20) // 8], axis=-1).reshape(-1, 3)
    wall = np.stack([x[:, :4], np.full((40, 4), 150), 12 + np.arange(4) + 0 * x[:, :4]], axis=-1)
    return np.concatenate([ground, wall.reshape(-1, 3)])


def points_in(index, repeats=3):
    return cloud_of(np.repeat(GRID.meters_from_voxel(index + 0.5), repeats, axis=0))


def rows_of(index):
    return np.column_stack([index, np.full(len(index), 11)])


def test_labels_of_the_points_are_registered():
    share, gain = voxel_registration(points_in(surface()), rows_of(surface()))
    assert (share, gain) == (1.0, 0.0)


@pytest.mark.parametrize("shift", [(0, 0, 1), (0, 0, -1), (4, 0, 0), (0, 2, 0)])
def test_a_shift_back_improves_shifted_labels(shift):
    share, gain = voxel_registration(points_in(surface()), rows_of(surface() + shift))
    assert share < 0.97
    assert share + gain > 0.98


def test_a_flip_improves_mirrored_labels():
    mirrored = surface() * [1, -1, 1] + [0, 255, 0]
    share, gain = voxel_registration(points_in(surface()), rows_of(mirrored))
    assert share + gain == pytest.approx(1.0)
    assert gain > 0.02


def test_voxels_with_few_points_and_few_voxels_are_not_compared():
    assert voxel_registration(points_in(surface(), repeats=2), rows_of(surface())) is None
    assert voxel_registration(points_in(surface()[:19]), rows_of(surface())) is None
    assert voxel_registration(points_in(surface())[:0], rows_of(surface())) is None


def test_points_outside_the_grid_have_no_voxel():
    flat, inside = voxels_of(np.array([[0.1, -38.3, -3.9], [-0.1, 0.0, 0.0], [76.9, 0.0, 0.0]]))
    assert (flat.tolist(), inside.tolist()) == ([0], [True, False, False])


def scene_in_view():
    """Points in a grid ahead whose depth grows to the right, and their depth label."""
    rows, columns = np.meshgrid(np.arange(20), np.arange(40), indexing="ij")
    depth = 10.0 + 0.5 * columns + 0.01 * rows
    # The inverse of CAMERA: x is the depth, y and z follow from the pixel's center.
    y, z = -(columns + 0.5 - 20) * depth / 10, -(rows + 0.5 - 10) * depth / 10
    points = np.stack([depth, y, z], axis=-1).reshape(-1, 3)
    return cloud_of(points), depth.astype(np.float32)


def test_a_depth_label_is_registered():
    cloud, depth_m = scene_in_view()
    assert depth_registration(cloud, CAMERA, depth_m) == (1.0, 0.0)


@pytest.mark.parametrize(
    "change", [lambda d: d[:, ::-1], lambda d: np.roll(d, 2, axis=1), lambda d: np.roll(d, -5, 1)]
)
def test_undoing_a_flip_or_a_shift_improves_a_depth_label(change):
    cloud, depth_m = scene_in_view()
    share, gain = depth_registration(cloud, CAMERA, np.ascontiguousarray(change(depth_m)))
    assert share < 0.2
    assert share + gain > 0.9


def test_depths_without_labels_or_camera_are_not_compared():
    cloud, depth_m = scene_in_view()
    assert depth_registration(cloud, CAMERA, 0 * depth_m) is None
    singular = CAMERA | {"R0_rect": np.zeros((4, 4))}
    assert depth_registration(cloud, singular, depth_m) is None


def test_heights_of_cells_are_means():
    points = np.array([[45.31, 10.73, -2.0], [45.32, 10.74, -1.0], [25.05, -10.85, 3.0]])
    heights = mean_cell_heights(points.astype(np.float32), (204, 217))
    assert heights[0, 0] == pytest.approx(-1.5)
    assert heights[-1, -1] == pytest.approx(3.0)
    assert np.isfinite(heights).sum() == 2


def test_elevations_are_registered_and_their_offset_and_flips_are_measured():
    x, y = np.meshgrid(np.arange(25.05, 45.0, 0.1), np.arange(-10.8, 10.8, 0.1), indexing="ij")
    points = np.stack([x, y, 0.1 * y - 0.2 * x], axis=-1).reshape(-1, 3).astype(np.float32)
    label = mean_cell_heights(points, (204, 217)).astype(np.float32)
    share, offset_m, gain = elevation_registration(cloud_of(points), label)
    assert (share, gain) == (1.0, 0.0)
    assert offset_m == pytest.approx(0.0, abs=1e-6)
    share, offset_m, _ = elevation_registration(cloud_of(points), label - np.float32(0.3))
    assert (share, offset_m) == (0.0, pytest.approx(0.3, abs=1e-5))
    share, _, gain = elevation_registration(cloud_of(points), np.ascontiguousarray(label[:, ::-1]))
    assert gain > 0.5
    assert elevation_registration(cloud_of(points[:10]), label) is None
