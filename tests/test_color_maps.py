import numpy as np
import pytest

from engine.pictures.color_maps import BLUE_WHITE_RED, TURBO, VIRIDIS


@pytest.mark.parametrize("table", [TURBO, VIRIDIS, BLUE_WHITE_RED])
def test_a_map_has_256_colours(table):
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8


def test_colours_are_rgb():
    assert np.argmax(TURBO[60]) == 2  # Blue.
    assert np.argmax(TURBO[210]) == 0  # Red.
    assert tuple(VIRIDIS[0]) == (68, 1, 84)
    assert VIRIDIS[255, 2] < 50 < VIRIDIS[255, 0]  # Yellow.


def test_the_middle_of_errors_is_white_and_the_ends_blue_and_red():
    assert (BLUE_WHITE_RED[127:129] >= 248).all()
    assert np.argmax(BLUE_WHITE_RED[0]) == 2
    assert np.argmax(BLUE_WHITE_RED[255]) == 0
