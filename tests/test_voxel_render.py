import cv2
import numpy as np
import pytest

from engine.pictures.voxel_render import (
    CORNER_LIGHT,
    FACE_LIGHT,
    SHADE_REACH,
    SHADE_STRENGTH,
    Faces,
    _bilinear,
    _corner_light,
    _edge_light,
    _intersect,
    _soft_light,
    draw_faces,
    render_voxels,
    visible_faces,
)
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D
from utils.view import Viewpoint, birds_eye, look_at

PALETTE = UNSCENES3D.palette()
TRUCK, TERRAIN = UNSCENES3D.index("truck"), UNSCENES3D.index("terrain")
UNIT = VoxelGrid((0.0, 0.0, 0.0), 1.0, (6, 6, 4))


def oblique_parallel(width: int, height: int) -> Viewpoint:
    """A parallel view along (2, 1, -1)."""
    forward = np.array([2.0, 1, -1]) / np.sqrt(6)
    right = np.array([1.0, -2, 0]) / np.sqrt(5)
    px_per_m = 7.0
    matrix = np.eye(4)
    matrix[:3, :3] = right * px_per_m, np.cross(forward, right) * px_per_m, forward
    center = np.array([3.0, 3, 2])
    matrix[:3, 3] = np.array([width / 2, height / 2, 20]) - matrix[:3, :3] @ center
    return Viewpoint(matrix, width, height, is_perspective=False)


VIEWS = {
    "outside": look_at((-5, 1, 7), (3, 3, 1), size=(72, 54), fov_deg=60),
    "low": look_at((9, -4, 0.5), (3, 3, 1.5), size=(72, 54), fov_deg=70),
    "inside": look_at((2.6, 3.1, 3.3), (6, 2.9, 0.5), size=(72, 54), fov_deg=100),
    "parallel": oblique_parallel(72, 54),
    "birds_eye": birds_eye((-1, 7), (7, -1), height=54, top_m=5),
}


def first_voxels(is_drawn: np.ndarray, view: Viewpoint) -> np.ndarray:
    """Slow twin: the flat index of the first drawn voxel on each pixel's line of sight, -1: none.

    A voxel that holds the eye is not seen, as its faces turn their backs on it.
    """
    from_pixel = np.linalg.inv(view.pixel_from_lidar)
    voxels = np.argwhere(is_drawn)
    numbers = np.flatnonzero(is_drawn)
    result = np.full((view.height, view.width), -1)
    for row in range(view.height):
        for column in range(view.width):
            u, v = column + 0.5, row + 0.5
            if view.is_perspective:
                start, step = from_pixel[:3, 3], from_pixel[:3, :3] @ [u, v, 1]
            else:
                start, step = from_pixel[:3] @ [u, v, 0, 1], from_pixel[:3, 2]
            step = np.where(np.abs(step) < 1e-12, 1e-12, step)
            ends = np.stack([(voxels - start) / step, (voxels + 1 - start) / step])
            enter, leave = ends.min(0).max(-1), ends.max(0).min(-1)
            enter = np.where((enter < leave) & (enter > 0), enter, np.inf)
            if np.isfinite(enter.min()):
                result[row, column] = numbers[enter.argmin()]
    return result


@pytest.mark.parametrize("name", VIEWS)
def test_every_pixel_shows_the_first_voxel_on_its_line_of_sight(name):
    is_drawn = np.random.default_rng(1).random(UNIT.shape) < 0.2
    view = VIEWS[name]
    faces = visible_faces(is_drawn, view)
    buffer = draw_faces(faces, view)
    voxels = np.append(np.ravel_multi_index(tuple(faces.voxel.T), is_drawn.shape), -1)[buffer]
    expected = first_voxels(is_drawn, view)
    # cv2 draws polygons with their outline, up to a pixel more: compare away from outlines.
    kernel = np.ones((3, 3), np.uint8)
    as_float = expected.astype(np.float32)
    is_inner = cv2.dilate(as_float, kernel) == cv2.erode(as_float, kernel)
    assert (expected[is_inner] >= 0).sum() > 200
    np.testing.assert_array_equal(voxels[is_inner], expected[is_inner])
    assert (voxels == expected).mean() > 0.85


def test_only_outer_faces_turned_to_the_viewer_are_visible():
    is_drawn = np.zeros(UNIT.shape, bool)
    is_drawn[2:4, 2:4, 1:3] = True
    from_corner = visible_faces(is_drawn, look_at((-5, -6, 9), (3, 3, 2), size=(9, 9), fov_deg=60))
    assert len(from_corner.voxel) == 12  # Four faces on each of three sides.
    assert set(zip(from_corner.axis, from_corner.side, strict=True)) == {(0, 0), (1, 0), (2, 1)}
    from_above = visible_faces(is_drawn, birds_eye((0, 6), (6, 0), height=9, top_m=5))
    assert set(zip(from_above.axis, from_above.side, strict=True)) == {(2, 1)}
    assert len(from_above.voxel) == 4


def test_faces_behind_the_eye_are_not_drawn_and_those_beside_it_are_cut():
    view = look_at((3.5, 3.5, 2.5), (6, 3.5, 2.5), size=(40, 30), fov_deg=90)
    behind = np.zeros(UNIT.shape, bool)
    behind[0:2, 3, 2] = True
    assert (draw_faces(visible_faces(behind, view), view) == -1).all()
    floor = np.zeros(UNIT.shape, bool)
    floor[:, :, 0] = True  # Its faces right below the eye reach behind it.
    buffer = draw_faces(visible_faces(floor, view), view)
    assert (buffer[-1] >= 0).all()
    assert (buffer[:15] == -1).all()


def one_face(voxel: tuple[int, int, int], axis: int, side: int) -> Faces:
    return Faces(np.array([voxel]), np.array([axis]), np.array([side]))


def test_corners_are_dimmed_by_the_voxels_that_touch_them():
    is_drawn = np.zeros((3, 3, 3), bool)
    is_drawn[1, 1, 1] = True
    top = one_face((1, 1, 1), 2, 1)
    np.testing.assert_array_equal(_corner_light(is_drawn, top), [[CORNER_LIGHT[3]] * 4])
    is_drawn[2, 1, 2] = True  # Beside and above, towards +x: axis + 1 of a face across z is x.
    one, three = CORNER_LIGHT[2], CORNER_LIGHT[3]
    np.testing.assert_array_equal(_corner_light(is_drawn, top), [[three, three, one, one]])
    is_drawn[1, 2, 2] = True  # And towards +y: the corner between the two is a room's corner.
    dark = CORNER_LIGHT[0]
    np.testing.assert_array_equal(_corner_light(is_drawn, top), [[three, one, one, dark]])


def test_soft_light_falls_with_the_filled_voxels_before_each_corner():
    is_drawn = np.random.default_rng(2).random((12, 9, 14)) < 0.3
    voxels = np.argwhere(is_drawn)[::40]
    padded = np.pad(is_drawn, 2 * SHADE_REACH)
    for axis in range(3):
        for side in (0, 1):
            faces = Faces(voxels, np.full(len(voxels), axis), np.full(len(voxels), side))
            light = _soft_light(is_drawn, faces)
            for voxel, found in zip(voxels, light, strict=True):
                expected = []
                for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    low = voxel + 2 * SHADE_REACH
                    low[axis] += 1 if side else -SHADE_REACH
                    for other, step in zip(((axis + 1) % 3, (axis + 2) % 3), corner, strict=True):
                        low[other] += step - SHADE_REACH
                    high = low + 2 * SHADE_REACH
                    high[axis] = low[axis] + SHADE_REACH
                    box = padded[tuple(map(slice, low, high))]
                    assert box.size == 4 * SHADE_REACH**3
                    expected.append(np.exp(-SHADE_STRENGTH * box.mean()))
                np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ground_before_a_wall_is_darker_than_in_the_open():
    is_drawn = np.zeros((20, 15, 8), bool)
    is_drawn[:, :, 0] = is_drawn[19, :, :] = True
    near, far = one_face((18, 7, 0), 2, 1), one_face((4, 7, 0), 2, 1)
    assert (_soft_light(is_drawn, far) == 1).all()
    assert _soft_light(is_drawn, near).max() < 0.9


def test_light_between_corners_is_bilinear():
    corners = np.float32([[0, 1, 2, 3]])
    for inside, expected in {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3, (0.5, 0.5): 1.5}.items():
        assert _bilinear(corners, np.float32([[inside[0]], [inside[1]]])) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["outside", "parallel"])
def test_lines_of_sight_meet_planes_where_the_points_project(name):
    view = VIEWS[name]
    pixels = np.array([20 * view.width + 20, 40 * view.width + 50])
    for axis, plane in enumerate(np.float32([[4, 4], [2, 2], [0, 0]])):
        across, shift = _intersect(view, pixels, axis, plane)
        points = np.empty((2, 3))
        points[:, axis] = plane
        points[:, (axis + 1) % 3], points[:, (axis + 2) % 3] = across
        back, depth = view.project(points)
        assert (depth > 0).any()
        # float32 rays: a few thousandths of a pixel.
        expected = np.array([[20.5, 20.5], [50.5, 40.5]])
        np.testing.assert_allclose(back[depth > 0], expected[depth > 0], atol=5e-3)
        right, _ = _intersect(view, pixels + 1, axis, plane)
        below, _ = _intersect(view, pixels + view.width, axis, plane)
        finite = np.hypot(right - across, below - across)
        # One pixel is a long way for a derivative.
        np.testing.assert_allclose(shift[:, depth > 0], finite[:, depth > 0], rtol=0.15)


def test_edges_are_dark_on_large_cubes_and_absent_on_small_ones():
    on_edge, inside = np.float32([[0.0], [0.5]]), np.float32([[0.5], [0.5]])
    large, small = np.full((2, 1), 0.01, np.float32), np.full((2, 1), 0.5, np.float32)
    assert _edge_light(on_edge, large) < 0.7
    assert _edge_light(inside, large) == 1
    assert _edge_light(on_edge, small) == 1


def render_one(labels, view, **options):
    return render_voxels(labels, UNIT, PALETTE, view, **options)


def test_the_top_of_a_cube_has_its_class_color_and_the_rest_the_background():
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[2, 3, 1] = TRUCK
    view = birds_eye((0, 6), (6, 0), height=60, top_m=4)  # 10 px a voxel
    image = render_one(labels, view, background=(1, 2, 3))
    assert image.shape == (60, 60, 3)
    np.testing.assert_array_equal(image[35, 25], PALETTE[TRUCK])  # x 2.5 from below, y 3.5
    is_background = (image == [1, 2, 3]).all(-1)
    assert 100 <= (~is_background).sum() <= 144  # The cube, and a pixel of outline around it.


def test_sides_are_darker_than_the_top():
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[3, 3, 1] = TRUCK
    view = look_at((-4, 3.5, 1.5), (3, 3.5, 1.5), size=(80, 60), fov_deg=20)
    expected = PALETTE[TRUCK] * FACE_LIGHT[0, 0]
    np.testing.assert_allclose(render_one(labels, view)[30, 40], expected, atol=1)


def test_haze_grows_with_depth_from_none_to_its_full_share():
    labels = np.zeros(UNIT.shape, np.uint8)
    labels[1, 1, 3] = labels[4, 4, 0] = TERRAIN
    view = birds_eye((0, 6), (6, 0), height=60, top_m=4)
    image = render_one(labels, view, haze=0.5, background=(255, 255, 255)).astype(float)
    color = PALETTE[TERRAIN].astype(float)
    np.testing.assert_allclose(image[45, 45], color, atol=1)
    np.testing.assert_allclose(image[15, 15], (color + 255) / 2, atol=1)


def test_free_and_ignored_voxels_are_not_drawn_and_do_not_hide_others():
    labels = np.full(UNIT.shape, 255, np.uint8)
    labels[2, 3, 1] = TRUCK
    view = birds_eye((0, 6), (6, 0), height=60, top_m=4)
    alone = np.where(labels == TRUCK, labels, 0)
    np.testing.assert_array_equal(render_one(labels, view), render_one(alone, view))
    assert not (render_one(alone, view) == 200).all(-1).any()


@pytest.mark.parametrize("name", VIEWS)
def test_an_empty_grid_gives_the_background(name):
    image = render_one(np.zeros(UNIT.shape, np.uint8), VIEWS[name], background=(9, 8, 7))
    assert (image == [9, 8, 7]).all()


def test_labels_must_fill_the_grid():
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\) do not match the grid of \(6, 6, 4\)"):
        render_one(np.zeros((2, 2, 2), np.uint8), VIEWS["outside"])


def test_drawing_leaves_its_inputs_alone():
    labels = np.random.default_rng(0).integers(0, 12, UNIT.shape).astype(np.uint8)
    before = labels.copy()
    first = render_one(labels, VIEWS["inside"])
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(render_one(labels, VIEWS["inside"]), first)


def test_a_grid_of_full_size_is_drawn_in_its_colors():
    labels = np.zeros((256, 256, 32), np.uint8)
    labels[:, :, 4] = TERRAIN
    labels[100:120, 120:136, 5:14] = TRUCK
    grid = VoxelGrid((0.0, -38.4, -4.0), 0.3, labels.shape)
    view = look_at((-25, 0, 19), (21, 0, -3), size=(320, 180), fov_deg=58)
    image = render_voxels(labels, grid, PALETTE, view).astype(int)
    assert image.shape == (180, 320, 3)
    # Light changes a color's strength, not what it is made of.
    is_terrain = (image[..., 1] > image[..., 0]) & (image[..., 0] > image[..., 2])
    is_truck = (image[..., 2] > image[..., 0]) & (image[..., 0] > image[..., 1])
    assert is_terrain.mean() > 0.3
    assert 0.005 < is_truck.mean() < 0.1
