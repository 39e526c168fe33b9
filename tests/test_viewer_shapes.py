import numpy as np
import pytest

from engine.viewer.shapes import (
    BEVEL,
    beveled_cube,
    camera_shape,
    elevation_mesh,
    height_colors,
)
from tests.layout_files import Rig


def test_the_cube_is_closed_and_turned_outwards():
    mesh = beveled_cube(2.0)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * corners.mean(1)).sum(1) > 0).all()
    # Every edge is shared by two triangles that run along it in opposite directions.
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    assert {tuple(edge) for edge in edges} == {tuple(edge) for edge in edges[:, ::-1]}
    assert len({tuple(edge) for edge in edges}) == len(edges) == 3 * 44
    # The bevels take little: the volume lies between the cube of the squares' side and its own.
    volume = (normals * corners[:, 0]).sum() / 6
    assert (2 * (1 - 2 * BEVEL)) ** 3 < volume < 8
    np.testing.assert_allclose(np.abs(mesh.vertices).max(0), 1.0)


def test_the_camera_stands_where_the_calibration_says():
    rig = Rig((60, 96))
    shape = camera_shape(rig.pixel_from_lidar, 96, 60, distance_m=5.0)
    eye = np.linalg.inv(rig.cam_from_lidar)[:3, 3]
    np.testing.assert_allclose(shape.lidar_from_cam[:3, 3], eye, atol=1e-4)
    assert shape.fov_rad == pytest.approx(2 * np.arctan(30 / (0.88 * 96)), abs=1e-5)


def test_the_image_lies_where_its_pixels_are_seen_also_off_the_axis():
    rig = Rig((60, 96))
    shape = camera_shape(rig.pixel_from_lidar, 96, 60, distance_m=5.0)
    corners = shape.edges_m()[:4, 1]
    mapped = np.column_stack([corners, np.ones(4)]) @ rig.pixel_from_lidar.T
    np.testing.assert_allclose(mapped[:, 2], 5.0, rtol=1e-4)
    pixels = mapped[:, :2] / mapped[:, 2:3]
    # float32 matrices: a thousandth of a pixel.
    np.testing.assert_allclose(pixels, [[0, 0], [96, 0], [96, 60], [0, 60]], atol=2e-3)
    middle = np.append(shape.center_m(), 1.0) @ rig.pixel_from_lidar.T
    np.testing.assert_allclose(middle[:2] / middle[2], [48, 30], atol=2e-3)


def test_the_edges_are_four_rays_and_a_frame():
    edges = camera_shape(Rig((60, 96)).pixel_from_lidar, 96, 60, distance_m=1.0).edges_m()
    np.testing.assert_array_equal(edges[:4, 0], edges[[0, 0, 0, 0], 0])
    np.testing.assert_array_equal(edges[4:, 1], np.roll(edges[4:, 0], -1, axis=0))


def test_the_elevation_lies_over_its_region_with_the_far_left_first():
    heights = np.arange(204 * 217, dtype=np.float32).reshape(204, 217)
    mesh = elevation_mesh(heights)
    assert len(mesh.vertices) == 204 * 217
    assert len(mesh.faces) == 2 * 203 * 216
    np.testing.assert_allclose(mesh.vertices[0], [45.35, 10.77, 0], atol=1e-5)
    np.testing.assert_allclose(mesh.vertices[-1], [25.05, -10.83, heights[-1, -1]], atol=1e-5)
    corners = mesh.vertices[mesh.faces]
    up = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    assert (up > 0).all()


def test_unknown_cells_have_no_surface():
    heights = np.full((40, 43), np.nan, np.float32)
    heights[:3, :3] = 0
    heights[0, 0] = np.nan
    mesh = elevation_mesh(heights)
    assert len(mesh.faces) == 6
    assert np.isfinite(mesh.vertices).all()
    assert len(elevation_mesh(np.full((40, 43), np.nan, np.float32)).faces) == 0


def test_colors_go_from_blue_to_red_with_the_height():
    colors = height_colors(np.linspace(0, 10, 101)).astype(int)
    assert colors[0, 2] > colors[0, 0]
    assert colors[-1, 0] > colors[-1, 2]
    assert height_colors(np.zeros(0)).shape == (0, 3)
    assert len(np.unique(height_colors(np.full(4, 2.0)), axis=0)) == 1
