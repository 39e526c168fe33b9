import numpy as np

from dataset.minesim.sensors.planes import rows, select, where

PLANES = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_selecting_everything_copies_nothing():
    everything = where(np.ones(3, dtype=bool))
    assert select(PLANES, everything) is PLANES


def test_a_part_is_selected_along_the_last_axis():
    part = where(np.array([True, False, True]))
    assert select(PLANES, part).tolist() == [[0, 2], [3, 5]]
    assert select(PLANES[0], part).tolist() == [0, 2]


def test_nothing_can_be_selected():
    assert select(PLANES, where(np.zeros(3, dtype=bool))).shape == (2, 0)


def test_rows_hold_one_ray_each():
    assert rows(PLANES).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert rows(PLANES).flags.c_contiguous
