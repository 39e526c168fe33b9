import numpy as np
import pytest

from engine.pictures.class_chart import (
    BAR_WIDTH,
    CELL,
    ROW,
    ClassRow,
    bar_length,
    class_chart,
    percent,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("share", "length"),
    [(1.0, BAR_WIDTH), (1e-3, BAR_WIDTH / 2), (1e-6, 0), (1e-9, 0), (0.0, 0)],
)
def test_bars_are_logarithmic(share, length):
    assert bar_length(share) == length


def test_percent_tells_rare_classes_apart():
    assert percent(0.6791) == "67.9 %"
    assert percent(0.0085) == "0.85 %"
    assert percent(0.000012) == "0.0012 %"


def chart(*rows):
    return class_chart("title", "other", rows, note="objects", distances=["0", "10"])


def count(picture, color):
    return int((picture == color).all(axis=-1).sum())


def test_bars_are_as_long_as_the_shares_say():
    row = ClassRow("truck", RED, 1e-3, 0.0, "1", (0.0, 0.0))
    longer = ClassRow("truck", RED, 1e-1, 0.0, "1", (0.0, 0.0))
    small, large = count(chart(row), RED), count(chart(longer), RED)
    assert large / small == pytest.approx(5 / 3, rel=0.02)  # 5 and 3 decades above 0.0001 %.
    assert count(chart(ClassRow("truck", RED, 0.0, 0.0, "-", (0.0, 0.0))), RED) == 0


def test_distances_are_shaded_by_their_share():
    near = chart(ClassRow("truck", BLUE, 0.0, 0.5, "1", (0.8, 0.4)))
    assert count(near, BLUE) == (ROW - 8) * (CELL - 4)
    assert count(near, (128, 128, 255)) == (ROW - 8) * (CELL - 4)


def test_a_row_a_class():
    row = ClassRow("truck", RED, 0.1, 0.2, "1", (1.0, 0.0))
    one, three = chart(row), chart(row, row, row)
    assert three.shape[0] - one.shape[0] == 2 * ROW
    assert three.dtype == np.uint8
    assert count(three, RED) == 3 * count(one, RED)
