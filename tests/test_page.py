import cv2
import numpy as np
import pytest

from engine.pictures.page import (
    FRAME,
    PAPER,
    RAMP,
    SCREEN,
    STYLES,
    WORDS_HEIGHT,
    WORDS_SIZE,
    LegendEntry,
    Page,
    fit,
    table_page,
    text_width,
    wrap,
    write_image,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(color, height=20, width=30):
    return np.full((height, width, 3), color, np.uint8)


def box_of(picture, color):
    """Top, left, bottom, right of the pixels of a color."""
    rows, columns = np.nonzero((picture == color).all(-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_picture_is_pasted_where_it_should_with_a_frame():
    page = Page(60, 50)
    page.paste(plain(RED), 10, 5)
    picture = page.picture()
    assert box_of(picture, RED) == (5, 10, 25, 40)
    assert box_of(picture, FRAME) == (4, 9, 26, 41)
    assert tuple(picture[0, 0]) == PAPER


def test_words_are_dark_on_paper_and_as_wide_as_told():
    page = Page(200, 40)
    page.write("truck", 20, 20, size=20)
    ink = (page.picture() < 128).all(-1)
    columns = np.flatnonzero(ink.any(0))
    assert 18 <= columns.min() <= 24
    assert columns.max() == pytest.approx(20 + text_width("truck", 20), abs=3)


def test_words_upwards_are_higher_than_wide():
    page = Page(60, 200)
    page.write_upwards("Prediction", 30, 100, size=20)
    rows, columns = np.nonzero((page.picture() < 128).all(-1))
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert rows.mean() == pytest.approx(100, abs=8)
    assert columns.mean() == pytest.approx(30, abs=4)


def test_a_style_scales_letters_boxes_and_panels_places():
    page = Page(60, 50, STYLES["dark"]._replace(scale=3))
    page.paste(plain(RED), 10, 5)
    page.fill(BLUE, (0, 40, 20, 45))
    picture = page.picture()
    assert picture.shape == (150, 180, 3)
    assert box_of(picture, RED) == (15, 30, 35, 60)  # Its pixels are not scaled.
    assert box_of(picture, BLUE) == (120, 0, 135, 60)
    assert tuple(picture[-1, -1]) == STYLES["dark"].paper
    widths = []
    for scale in (1, 3):
        page = Page(200, 40, SCREEN._replace(scale=scale))
        page.write("truck", 20, 20, size=20)
        widths.append(np.ptp(np.flatnonzero((page.picture() < 128).all(-1).any(0))))
    assert widths[1] == pytest.approx(3 * widths[0], abs=6)


def test_words_in_a_box_are_readable_on_any_picture():
    page = Page.over(plain(RED, 60, 200))
    page.write_boxed("truck", 10, 8, size=20)
    picture = page.picture()
    top, left, bottom, right = box_of(picture, PAPER)
    assert (top, left) == (8, 10)
    assert right - left > text_width("truck", 20)
    assert (picture[top:bottom, left:right] < 100).all(-1).any()


def test_a_legend_shows_a_map_of_colors_as_a_bar():
    ramp = np.zeros((256, 3), np.uint8)
    ramp[:, 2] = np.arange(256)
    rows = [("", [plain(RED, 50, 400)])]
    picture = table_page("", "", [""], rows, [[LegendEntry("depth", ramp)]])
    below = picture[box_of(picture, RED)[2] + 3 :]
    assert RAMP - 2 <= (below[..., 0] == 0).any(0).sum() <= RAMP + 60  # And the letters' ink.
    assert (below == (0, 0, 255)).all(-1).any()


def test_a_page_without_title_and_names_has_no_room_for_them():
    bare = table_page("", "", [""], [("", [plain(RED)])], [])
    full = table_page("title", "", ["column"], [("name", [plain(RED)])], [])
    assert box_of(bare, RED)[0] == 24
    assert box_of(full, RED)[0] > 70
    assert box_of(full, RED)[1] > box_of(bare, RED)[1]


def test_fit_shrinks_and_enlarges():
    half = np.concatenate([plain(RED), plain(BLUE)], axis=1)
    for width, height in ((12, 4), (600, 80)):
        scaled = fit(half, width, height)
        assert scaled.shape == (height, width, 3)
        np.testing.assert_array_equal(scaled[height // 2, [0, -1]], [RED, BLUE])


def test_a_table_puts_panels_in_rows_and_columns_and_each_legend_group_on_a_line():
    rows = [("above", [plain(RED), plain(GREEN, 40)]), ("below", [plain(BLUE), plain(FRAME)])]
    groups = [[LegendEntry("one", (10, 20, 30), "note")], [LegendEntry("two", (40, 50, 60))]]
    picture = table_page("title", "note", ["left", "right"], rows, groups)
    red, green, blue = (box_of(picture, color) for color in (RED, GREEN, BLUE))
    assert red[1] == blue[1]
    assert red[3] < green[1]
    assert green[2] < blue[0]
    assert red[0] - green[0] == green[2] - red[2]  # In the middle of its row.
    one, two = box_of(picture, (10, 20, 30)), box_of(picture, (40, 50, 60))
    assert one[1] == two[1]
    assert blue[2] < one[0] < one[2] < two[0]


def test_a_long_legend_wraps_and_stays_on_the_page():
    entries = [LegendEntry("a rather long name", (i, 0, 99)) for i in range(10)]
    picture = table_page("", "", ["only"], [("", [plain(RED, 50, 500)])], [entries])
    boxes = [box_of(picture, (i, 0, 99)) for i in range(10)]
    assert len({box[0] for box in boxes}) > 1
    assert max(box[3] for box in boxes) < box_of(picture, RED)[3]


def test_a_table_refuses_rows_that_do_not_fill_the_columns():
    with pytest.raises(ValueError, match="row 'above' has 1 panels for 2 columns"):
        table_page("", "", ["left", "right"], [("above", [plain(RED)])], [])


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_written_in_its_colors_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / "deep" / f"frame.1{suffix}"
    write_image(path, plain(RED))
    read = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_allclose(read, plain(RED), atol=0 if suffix == ".png" else 8)
    assert list(path.parent.iterdir()) == [path]


def test_other_picture_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        write_image(tmp_path / "frame.tiff", plain(RED))


def test_words_stand_below_the_first_row_and_long_ones_wrap():
    rows = [("above", [plain(RED, 60, 300)]), ("below", [plain(BLUE, 60, 300)])]
    plainly = table_page("", "", ["only"], rows, [])
    with_words = table_page("", "", ["only"], rows, [], words=["A long text " * 8, "short"])
    red, blue = box_of(with_words, RED), box_of(with_words, BLUE)
    assert box_of(plainly, RED) == red
    between = with_words[red[2] + 2 : blue[0] - 2]
    assert (between < 128).all(-1).any()
    lines = len(wrap("A long text " * 8, WORDS_SIZE, 300)) + 1
    assert lines > 2
    added = with_words.shape[0] - plainly.shape[0]
    assert added == blue[0] - box_of(plainly, BLUE)[0] == lines * WORDS_HEIGHT


def test_lines_are_wrapped_between_words():
    text = "one two three four"
    width = round(text_width("one two", 16)) + 1
    assert wrap(text, 16, width) == ["one two", "three", "four"]
    assert wrap("unbreakable", 16, 5) == ["unbreakable"]
    assert wrap("", 16, 100) == []
