import numpy as np
import pytest

from utils.geometry import VoxelGrid
from utils.view import NEAR_M, Viewpoint, birds_eye, look_at


def test_look_at_puts_the_target_in_the_middle_and_left_and_up_where_they_belong():
    view = look_at((1, 2, 3), (11, 2, 3), size=(200, 100), fov_deg=90)
    target, left, above = [11.0, 2, 3], [11.0, 3, 3], [11.0, 2, 4]
    pixels, depth = view.project(np.array([target, left, above]))
    # 90 degrees over 200 px: f = 100 px, so 1 m at 10 m is 10 px.
    np.testing.assert_allclose(pixels, [[100, 50], [90, 50], [100, 40]], atol=1e-9)
    np.testing.assert_allclose(depth, 10)


def test_look_at_from_above_measures_depth_along_the_line_of_sight():
    view = look_at((0, 0, 3), (4, 0, 0), size=(10, 10), fov_deg=60)
    _, depth = view.project(np.array([[4.0, 0, 0], [0, 0, 3]]))
    np.testing.assert_allclose(depth, [5, 0], atol=1e-12)


@pytest.mark.parametrize("target", [(0, 0, -5), (0, 0, 0)])
def test_look_at_rejects_a_vertical_line_of_sight(target):
    with pytest.raises(ValueError, match="vertical"):
        look_at((0, 0, 0), target, size=(10, 10), fov_deg=60)


def test_birds_eye_maps_corners_and_heights():
    view = birds_eye((0, 5), (20, -5), height=40, top_m=3)
    assert (view.width, view.height, view.is_perspective) == (20, 40, False)
    pixels, depth = view.project(np.array([[0.0, 5, 3], [20, -5, 0], [10, 0, 1]]))
    np.testing.assert_allclose(pixels, [[0, 40], [20, 0], [10, 20]])
    np.testing.assert_allclose(depth, [0, 3, 2])


@pytest.mark.parametrize(("near_left", "far_right"), [((5, 5), (5, -5)), ((0, -5), (20, 5))])
def test_birds_eye_rejects_corners_the_wrong_way_round(near_left, far_right):
    with pytest.raises(ValueError, match="needs near < far and right < left"):
        birds_eye(near_left, far_right, height=10, top_m=0)


VIEWS = {
    "perspective": look_at((-3, 1, 4), (8, -1, 0), size=(64, 48), fov_deg=70),
    "parallel": birds_eye((0, 5), (20, -5), height=48, top_m=3),
}


@pytest.mark.parametrize("name", VIEWS)
def test_resizing_scales_pixels_and_keeps_depth(name):
    view, points = VIEWS[name], np.random.default_rng(0).uniform(1, 9, (5, 3))
    pixels, depth = view.project(points)
    larger = view.resize(2 * view.width, 3 * view.height)
    assert (larger.width, larger.height) == (2 * view.width, 3 * view.height)
    moved, same_depth = larger.project(points)
    np.testing.assert_allclose(moved, pixels * [2, 3])
    np.testing.assert_allclose(same_depth, depth)


@pytest.mark.parametrize("name", VIEWS)
def test_extending_adds_as_many_rows_above_as_below(name):
    view, points = VIEWS[name], np.random.default_rng(0).uniform(1, 9, (5, 3))
    taller = view.extend(view.height + 10)
    assert (taller.width, taller.height) == (view.width, view.height + 10)
    np.testing.assert_allclose(taller.project(points)[0], view.project(points)[0] + [0, 5])
    wider = view.extend(view.height, width=view.width + 6)
    assert (wider.width, wider.height) == (view.width + 6, view.height)
    np.testing.assert_allclose(wider.project(points)[0], view.project(points)[0] + [3, 0])


@pytest.mark.parametrize("name", VIEWS)
def test_voxel_coordinates_project_like_their_meters(name):
    grid = VoxelGrid((-2.0, 1.0, -4.0), 0.3, (8, 8, 8))
    voxels = np.random.default_rng(0).uniform(10, 20, (5, 3))
    pixels, depth = VIEWS[name].in_voxels(grid).project(voxels)
    expected_pixels, expected_depth = VIEWS[name].project(grid.meters_from_voxel(voxels))
    np.testing.assert_allclose(pixels, expected_pixels)
    np.testing.assert_allclose(depth, expected_depth)


@pytest.mark.parametrize("name", VIEWS)
def test_the_aspect_is_that_of_square_pixels_however_the_image_is_stretched(name):
    view = VIEWS[name]
    assert view.aspect == pytest.approx(view.width / view.height)
    stretched = view.resize(3 * view.width, view.height)
    assert stretched.aspect == pytest.approx(view.aspect)


def test_points_behind_the_eye_have_finite_pixels():
    view = look_at((0, 0, 0), (1, 0, 0), size=(10, 10), fov_deg=90)
    pixels, depth = view.project(np.array([[-1.0, 1, 0], [0, 1, 0]]))
    assert np.isfinite(pixels).all()
    assert (depth < NEAR_M).all()


def test_a_view_needs_pixels_and_a_matrix_with_an_inverse():
    with pytest.raises(ValueError, match="must have pixels, got width 0"):
        Viewpoint(np.eye(4), 0, 10)
    with pytest.raises(ValueError, match="has no inverse"):
        Viewpoint(np.zeros((4, 4)), 10, 10)
    with pytest.raises(ValueError, match="has no inverse"):
        Viewpoint(np.full((4, 4), np.nan), 10, 10)
