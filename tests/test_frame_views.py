from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.pictures.frame_views import (
    MAX_FRONT_ASPECT,
    VIEWS,
    choose_views,
    ground_height_m,
    panel_in_box,
    panel_of_width,
    panels_in_row,
)
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid
from utils.labels import IGNORE, UNSCENES3D

GRID = VoxelGrid((0.0, -9.6, -4.0), 1.2, (16, 16, 8))
ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")


def sample(height=60, width=96, cameras=2):
    projections = [pinhole(height, width, 50.0, forward_m=float(i)) for i in range(cameras)]
    images = torch.zeros(cameras, 3, height, width, dtype=torch.uint8)
    return Sample("1.0", images=images, pixel_from_lidar=torch.stack(projections))


def views(**changes):
    return choose_views(replace(sample(), **changes), GRID, -3.0)


def test_the_ground_is_the_top_of_the_lowest_voxels_ahead():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, :, 2] = ROAD
    labels[:, :, 6] = TRUCK
    assert ground_height_m(labels, GRID) == pytest.approx(-4.0 + 3 * 1.2)
    nothing = np.full(GRID.shape, IGNORE, np.uint8)
    assert ground_height_m(nothing, GRID) == pytest.approx(-4.0 + 8 * 1.2 / 8)


def test_the_front_view_is_the_chosen_cameras():
    for camera in (0, 1):
        chosen = choose_views(sample(), GRID, -3.0, camera=camera)
        expected = sample().pixel_from_lidar[camera].double().numpy()
        np.testing.assert_array_equal(chosen.viewpoints["front"].pixel_from_lidar, expected)
        assert chosen.camera == camera
    with pytest.raises(ValueError, match=r"frame 1.0 has 2 cameras, numbered from 0; got 2"):
        choose_views(sample(), GRID, -3.0, camera=2)
    assert views(images=None).camera is None


def test_forward_is_up_in_two_views_and_to_the_right_from_the_side():
    points = np.array([[3.0, 0.0, -3.0], [12.0, 0.0, -3.0]])
    viewpoints = views().viewpoints
    for name in ("driver", "bird"):
        near, far = viewpoints[name].project(points)[0]
        assert far[1] < near[1]
        assert far[0] == pytest.approx(near[0])
    near, far = viewpoints["side"].project(points)[0]
    assert far[0] > near[0] + 100


def test_all_of_the_ground_is_in_the_views_from_outside():
    corners = np.array([[x, y, -3.0] for x in (0.1, 19.1) for y in (-9.5, 9.5)])
    viewpoints = views().viewpoints
    for name in ("bird", "side"):
        pixels, _ = viewpoints[name].project(corners)
        assert (pixels > 0).all()
        assert (pixels < [viewpoints[name].width, viewpoints[name].height]).all()


def test_panels_of_a_row_share_its_width_and_keep_their_shape():
    panels = panels_in_row(views(), VIEWS, 1000)
    assert [panel.name for panel in panels] == list(VIEWS)
    assert sum(panel.view.width for panel in panels) == pytest.approx(1000, abs=8)
    assert len({panel.view.height for panel in panels}) == 1
    for panel in panels:
        assert panel.view.aspect == pytest.approx(panel.view.width / panel.view.height, rel=0.02)


def test_a_wide_image_has_spare_rows_in_a_row_and_none_alone():
    wide = choose_views(sample(30, 120), GRID, -3.0)
    front = panels_in_row(wide, ("front", "driver"), 1000)[0]
    assert front.view.width / front.view.height == pytest.approx(MAX_FRONT_ASPECT, rel=0.02)
    inner = front.view.height - 2 * front.spare_rows
    assert front.view.width / inner == pytest.approx(4, rel=0.05)
    alone = panel_of_width(wide, "front", 400)
    assert (alone.view.width, alone.view.height, alone.spare_rows) == (400, 100, 0)


@pytest.mark.parametrize("size", [(300, 90), (91, 301), (160, 100)])
def test_a_panel_in_a_box_fills_it_without_stretching(size):
    for name in VIEWS:
        panel = panel_in_box(views(), name, *size)
        assert (panel.view.width, panel.view.height) == size
        inner = (size[0] - 2 * panel.spare_columns, size[1] - 2 * panel.spare_rows)
        assert min(panel.spare_rows, panel.spare_columns) == 0
        assert inner[0] / inner[1] == pytest.approx(views().viewpoints[name].aspect, rel=0.05)


def test_unknown_views_and_no_room_are_rejected():
    with pytest.raises(
        ValueError, match=r"views must be among front, driver, bird, side; got \['top'\]"
    ):
        panels_in_row(views(), ("front", "top"), 1000)
    with pytest.raises(ValueError, match="4 panels do not fit into 50 pixels"):
        panels_in_row(views(), VIEWS, 50)
