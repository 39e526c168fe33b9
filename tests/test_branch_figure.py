import numpy as np
import torch

from tests.test_figures import GRID, LABEL, OPTIONS, TRUCK, frame, layer
from utils.branch_figure import branch_tables, draw_map, stack_pages
from utils.branch_maps import COLOR, DEPTH, SEMANTIC, BranchMap, RenderedFrame
from utils.labels import IGNORE, UNSCENES3D
from utils.page import STYLES
from utils.panels import TURBO

WHITE = STYLES["white"]


def draw(values, kind, size=(20, 10)):
    return draw_map(values, kind, UNSCENES3D, size, far_m=50.0, style=WHITE)


def test_labels_have_their_colors_and_no_class_comes_between():
    values = np.zeros((5, 10), np.uint8)
    values[:, 5:] = TRUCK
    values[0] = IGNORE
    picture = draw(values, SEMANTIC)
    assert picture.shape == (10, 20, 3)
    found = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert found == {WHITE.stage, WHITE.frame, UNSCENES3D.colors[TRUCK]}


def test_depth_goes_through_the_map_of_colors():
    values = np.full((10, 20), 25.0, np.float32)
    values[:, 10:] = 80.0
    picture = draw(values, DEPTH)
    np.testing.assert_array_equal(picture[5, 5], TURBO[128])
    np.testing.assert_array_equal(picture[5, 15], TURBO[255])


def test_few_measured_depths_stay_visible_and_the_nearest_wins():
    values = np.zeros((60, 120), np.float32)
    values[30, 60], values[30, 61] = 40.0, 10.0
    picture = draw(values, DEPTH, (120, 60))
    is_drawn = (picture != WHITE.stage).any(-1)
    assert 4 <= is_drawn.sum() <= 9
    near = (picture == TURBO[51]).all(-1)
    assert near.sum() > is_drawn.sum() / 2
    assert not (picture[:20] != WHITE.stage).any()  # Nothing appears at the border.


def test_colors_stay_as_they_are():
    values = np.full((10, 20, 3), (10, 200, 30), np.uint8)
    np.testing.assert_array_equal(draw(values, COLOR), values)


def rendered(*, target):
    labels = np.full((30, 48), TRUCK, np.uint8)
    depth = np.full((30, 48), 20.0, np.float32)
    return RenderedFrame(
        (
            BranchMap("LiDAR", SEMANTIC, labels, labels if target else None),
            BranchMap("camera", DEPTH, depth, None),
        ),
        np.zeros(GRID.shape, np.uint8),
        50.0,
    )


def test_maps_stand_over_what_supervises_them_and_the_occupancy_below():
    maps, occupancy = branch_tables(frame(), rendered(target=True), UNSCENES3D, OPTIONS)
    assert maps.columns == ["LiDAR volume: semantics", "Camera volume: depth"]
    assert [name for name, _ in maps.rows] == ["Rendered", "Supervision"]
    shown, blank = maps.rows[1][1]
    assert (shown == UNSCENES3D.colors[TRUCK]).all()
    assert (blank == WHITE.stage).all()
    assert occupancy.columns[0] == "Input"
    assert [name for name, _ in occupancy.rows] == ["Ours", LABEL]
    names = [entry.name for entry in occupancy.legend[-1]]
    assert names == ["depth, 0 to 50 m", "not supervised"]


def test_without_a_label_there_is_no_supervision_to_show():
    bare = frame(layer("Ours"))
    bare.sample.points = torch.tensor([[8.0, 0.0, -3.0, 1.0]])
    maps, occupancy = branch_tables(bare, rendered(target=False), UNSCENES3D, OPTIONS)
    assert [name for name, _ in maps.rows] == ["Rendered"]
    assert [entry.name for entry in occupancy.legend[-1]] == ["depth, 0 to 50 m"]


def test_pages_below_each_other_are_as_wide_as_the_widest():
    page = stack_pages([np.zeros((3, 10, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], WHITE)
    assert page.shape == (7, 10, 3)
    assert (page[3:, 6:] == WHITE.paper).all()
    assert not page[3:, :6].any()
