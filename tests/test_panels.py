from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.pictures.frame_views import choose_views, panel_in_box, panels_in_row
from engine.pictures.page import NIGHT, SCREEN, STYLES
from engine.pictures.panels import (
    draw_camera,
    draw_input,
    draw_points,
    draw_voxels,
    mark_scale,
    mark_text,
)
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D
from utils.view import birds_eye, look_at

GRID = VoxelGrid((0.0, -9.6, -4.0), 1.2, (16, 16, 8))
ROAD = UNSCENES3D.index("driveable_surface")
SKY = (90, 160, 230)


def sample(height=60, width=96):
    images = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    images[:] = torch.tensor(SKY)[:, None, None]
    points = torch.tensor([[8.0, 0.0, -3.0, 1.0]]).repeat(5, 1)
    return Sample(
        "1.0",
        images=images,
        points=points,
        pixel_from_lidar=pinhole(height, width, 50.0)[None],
    )


FRAME_VIEWS = choose_views(sample(), GRID, -2.8)


def is_color(image, color):
    return (image == color).all(-1)


def road():
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[:, :, 0] = ROAD
    return voxels


@pytest.mark.parametrize("style", [SCREEN, STYLES["dark"]])
def test_voxels_stand_on_the_stage_with_the_vehicle_but_in_its_own_view(style):
    for panel in panels_in_row(FRAME_VIEWS, ("front", "driver", "bird", "side"), 800):
        image = draw_voxels(road(), GRID, UNSCENES3D, panel, FRAME_VIEWS, style=style)
        assert image.shape == (panel.view.height, panel.view.width, 3)
        assert is_color(image, style.background).any()
        assert is_color(image, style.ink).any() == (panel.name != "front")


def test_an_empty_panel_says_so():
    (panel,) = panels_in_row(FRAME_VIEWS, ("driver",), 300)
    image = draw_voxels(np.zeros(GRID.shape, np.uint8), GRID, UNSCENES3D, panel, FRAME_VIEWS)
    middle = image[panel.view.height // 2 - 8 : panel.view.height // 2 + 8]
    assert (middle < 150).all(-1).any()


def test_dashes_show_where_a_wide_image_ends():
    wide = choose_views(sample(24, 96), GRID, -2.8)
    (panel,) = panels_in_row(wide, ("front",), 300)
    assert panel.spare_rows > 0
    image = draw_voxels(np.zeros(GRID.shape, np.uint8), GRID, UNSCENES3D, panel, wide)
    dashed = is_color(image[panel.spare_rows], SCREEN.faint_ink)
    assert 0.3 < dashed.mean() < 0.7


def test_the_image_is_where_the_view_shows_it():
    panel = panel_in_box(FRAME_VIEWS, "front", 300, 100)
    image = draw_camera(sample(), panel)
    is_sky = is_color(image, SKY)
    columns = np.flatnonzero(is_sky.any(0))
    assert columns.min() == panel.spare_columns > 0
    assert columns.max() == 299 - panel.spare_columns
    assert is_sky[:, panel.spare_columns : -panel.spare_columns].all()
    with pytest.raises(ValueError, match=r"frame 1.0 has no image of camera 1"):
        draw_camera(sample(), panel, 1)


def test_points_take_the_images_place_where_there_is_none():
    front, driver = panels_in_row(FRAME_VIEWS, ("front", "driver"), 600)
    assert is_color(draw_input(sample(), front, FRAME_VIEWS), SKY).all()
    assert is_color(draw_input(sample(), driver, FRAME_VIEWS), NIGHT).any()
    without = replace(sample(), images=None)
    assert is_color(draw_input(without, front, FRAME_VIEWS), NIGHT).mean() > 0.9
    nothing = replace(without, points=None)
    assert is_color(draw_input(nothing, front, FRAME_VIEWS), SCREEN.background).mean() > 0.9


def test_the_bar_is_as_long_as_its_number_says():
    view = birds_eye((0, 10), (20, -10), height=200, top_m=0)  # 10 pixels a meter.
    image = mark_scale(np.full((200, 200, 3), 255, np.uint8), view)
    bar = is_color(image[-12:], SCREEN.ink).sum(1).max()
    assert bar == 50  # 5 m: 10 m would be longer than 0.3 of the width.
    twice = mark_scale(
        np.full((400, 400, 3), 255, np.uint8), view.resize(400, 400), SCREEN._replace(scale=2)
    )
    assert is_color(twice[-24:], SCREEN.ink).sum(1).max() == 100


def test_words_stand_in_the_upper_left():
    image = mark_text(np.zeros((100, 200, 3), np.uint8), ["first", "second"])
    rows, columns = np.nonzero((image > 0).any(-1))
    assert rows.max() < 60
    assert columns.max() < 100


def test_near_points_cover_far_ones_and_colors_tell_heights():
    view = look_at((0, 0, 0), (1, 0, 0), size=(41, 41), fov_deg=60)
    low, high = [5.0, 0, -0.001, 1], [9.0, 0, 0.001, 1]
    alone = draw_points(np.array([low]), view, low_m=-0.001, high_m=0.001)
    both = draw_points(np.array([low, high]), view, low_m=-0.001, high_m=0.001)
    np.testing.assert_array_equal(alone[20, 20], both[20, 20])
    far = draw_points(np.array([high]), view, low_m=-0.001, high_m=0.001)
    assert far[20, 20, 0] > far[20, 20, 2]  # High is red, low is blue.
    assert alone[20, 20, 0] < alone[20, 20, 2]


@pytest.mark.parametrize(
    "points", [np.zeros((0, 4)), np.array([[-5.0, 0, 0, 1]]), np.array([[5.0, 99, 0, 1]])]
)
def test_points_out_of_view_are_not_drawn(points):
    view = look_at((0, 0, 0), (1, 0, 0), size=(40, 40), fov_deg=60)
    assert (draw_points(points, view, low_m=0, high_m=1) == NIGHT).all()


def test_points_above_the_top_of_a_birds_eye_view_are_drawn():
    view = birds_eye((0, 5), (10, -5), height=40, top_m=0)
    image = draw_points(np.array([[5.0, 0, 3, 1]]), view, low_m=0, high_m=1)
    assert (image != NIGHT).any()
