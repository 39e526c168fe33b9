import numpy as np

from engine.pictures.branch_maps import COLOR, DEPTH, SEMANTIC, BranchMap
from engine.pictures.color_maps import TURBO
from engine.pictures.map_panel import draw_map, map_title
from engine.pictures.page import STYLES
from utils.labels import IGNORE, UNSCENES3D

TRUCK = 2
WHITE = STYLES["white"]


def draw(values, kind, size=(20, 10)):
    return draw_map(values, kind, UNSCENES3D, size, far_m=50.0, style=WHITE)


def test_labels_have_their_colors_and_no_class_comes_between():
    values = np.zeros((5, 10), np.uint8)
    values[:, 5:] = TRUCK
    values[0] = IGNORE
    image = draw(values, SEMANTIC)
    assert image.shape == (10, 20, 3)
    found = {tuple(color) for color in image.reshape(-1, 3).tolist()}
    assert found == {WHITE.background, WHITE.frame, UNSCENES3D.colors[TRUCK]}


def test_depth_goes_through_the_map_of_colors():
    values = np.full((10, 20), 25.0, np.float32)
    values[:, 10:] = 80.0
    image = draw(values, DEPTH)
    np.testing.assert_array_equal(image[5, 5], TURBO[128])
    np.testing.assert_array_equal(image[5, 15], TURBO[255])


def test_few_measured_depths_stay_visible_and_the_nearest_wins():
    values = np.zeros((60, 120), np.float32)
    values[30, 60], values[30, 61] = 40.0, 10.0
    image = draw(values, DEPTH, (120, 60))
    is_drawn = (image != WHITE.background).any(-1)
    assert 4 <= is_drawn.sum() <= 9
    near = (image == TURBO[51]).all(-1)
    assert near.sum() > is_drawn.sum() / 2
    assert not (image[:20] != WHITE.background).any()  # Nothing appears at the border.


def test_colors_stay_as_they_are():
    values = np.full((10, 20, 3), (10, 200, 30), np.uint8)
    np.testing.assert_array_equal(draw(values, COLOR), values)


def test_a_map_is_called_by_its_branch_and_its_kind():
    values = np.zeros((2, 2), np.float32)
    assert map_title(BranchMap("camera", DEPTH, values, None)) == "Camera volume: depth"
