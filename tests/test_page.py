import numpy as np
import pytest

from engine.pictures.page import FRAME, PAPER, SCREEN, STYLES, Page, fit, text_width, wrap
from tests.images import BLUE, RED, box_of, plain


def test_a_image_is_pasted_where_it_should_with_a_frame():
    page = Page(60, 50)
    page.paste(plain(RED), 10, 5)
    image = page.image()
    assert box_of(image, RED) == (5, 10, 25, 40)
    assert box_of(image, FRAME) == (4, 9, 26, 41)
    assert tuple(image[0, 0]) == PAPER


def test_words_are_dark_on_paper_and_as_wide_as_told():
    page = Page(200, 40)
    page.write("truck", 20, 20, size=20)
    ink = (page.image() < 128).all(-1)
    columns = np.flatnonzero(ink.any(0))
    assert 18 <= columns.min() <= 24
    assert columns.max() == pytest.approx(20 + text_width("truck", 20), abs=3)


def test_words_upwards_are_higher_than_wide():
    page = Page(60, 200)
    page.write_vertical("Prediction", 30, 100, size=20)
    rows, columns = np.nonzero((page.image() < 128).all(-1))
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert rows.mean() == pytest.approx(100, abs=8)
    assert columns.mean() == pytest.approx(30, abs=4)


def test_a_style_scales_letters_boxes_and_panels_places():
    page = Page(60, 50, STYLES["dark"]._replace(scale=3))
    page.paste(plain(RED), 10, 5)
    page.fill(BLUE, (0, 40, 20, 45))
    image = page.image()
    assert image.shape == (150, 180, 3)
    assert box_of(image, RED) == (15, 30, 35, 60)  # Its pixels are not scaled.
    assert box_of(image, BLUE) == (120, 0, 135, 60)
    assert tuple(image[-1, -1]) == STYLES["dark"].paper
    widths = []
    for scale in (1, 3):
        page = Page(200, 40, SCREEN._replace(scale=scale))
        page.write("truck", 20, 20, size=20)
        widths.append(np.ptp(np.flatnonzero((page.image() < 128).all(-1).any(0))))
    assert widths[1] == pytest.approx(3 * widths[0], abs=6)


def test_words_in_a_box_are_readable_on_any_image():
    page = Page.over(plain(RED, 60, 200))
    page.write_boxed("truck", 10, 8, size=20)
    image = page.image()
    top, left, bottom, right = box_of(image, PAPER)
    assert (top, left) == (8, 10)
    assert right - left > text_width("truck", 20)
    assert (image[top:bottom, left:right] < 100).all(-1).any()


def test_fit_shrinks_and_enlarges():
    half = np.concatenate([plain(RED), plain(BLUE)], axis=1)
    for width, height in ((12, 4), (600, 80)):
        scaled = fit(half, width, height)
        assert scaled.shape == (height, width, 3)
        np.testing.assert_array_equal(scaled[height // 2, [0, -1]], [RED, BLUE])


def test_lines_are_wrapped_between_words():
    text = "one two three four"
    width = round(text_width("one two", 16)) + 1
    assert wrap(text, 16, width) == ["one two", "three", "four"]
    assert wrap("unbreakable", 16, 5) == ["unbreakable"]
    assert wrap("", 16, 100) == []
