import pytest

from engine.pictures.legend import LegendEntry
from engine.pictures.page import FRAME, wrap
from engine.pictures.table_page import CAPTION_LINE_HEIGHT, CAPTION_SIZE, table_page
from tests.images import BLUE, GREEN, RED, box_of, plain


def test_a_page_without_title_and_names_has_no_room_for_them():
    bare = table_page("", "", [""], [("", [plain(RED)])], [])
    full = table_page("title", "", ["column"], [("name", [plain(RED)])], [])
    assert box_of(bare, RED)[0] == 24
    assert box_of(full, RED)[0] > 70
    assert box_of(full, RED)[1] > box_of(bare, RED)[1]


def test_a_table_puts_panels_in_rows_and_columns_and_each_legend_group_on_a_line():
    rows = [("above", [plain(RED), plain(GREEN, 40)]), ("below", [plain(BLUE), plain(FRAME)])]
    groups = [[LegendEntry("one", (10, 20, 30), "note")], [LegendEntry("two", (40, 50, 60))]]
    image = table_page("title", "note", ["left", "right"], rows, groups)
    red, green, blue = (box_of(image, color) for color in (RED, GREEN, BLUE))
    assert red[1] == blue[1]
    assert red[3] < green[1]
    assert green[2] < blue[0]
    assert red[0] - green[0] == green[2] - red[2]  # In the middle of its row.
    one, two = box_of(image, (10, 20, 30)), box_of(image, (40, 50, 60))
    assert one[1] == two[1]
    assert blue[2] < one[0] < one[2] < two[0]


def test_a_table_rejects_rows_that_do_not_fill_the_columns():
    with pytest.raises(ValueError, match="row 'above' has 1 panels for 2 columns"):
        table_page("", "", ["left", "right"], [("above", [plain(RED)])], [])


def test_the_caption_stands_below_the_first_row_and_long_lines_wrap():
    rows = [("above", [plain(RED, 60, 300)]), ("below", [plain(BLUE, 60, 300)])]
    plainly = table_page("", "", ["only"], rows, [])
    with_caption = table_page("", "", ["only"], rows, [], caption=["A long text " * 8, "short"])
    red, blue = box_of(with_caption, RED), box_of(with_caption, BLUE)
    assert box_of(plainly, RED) == red
    between = with_caption[red[2] + 2 : blue[0] - 2]
    assert (between < 128).all(-1).any()
    lines = len(wrap("A long text " * 8, CAPTION_SIZE, 300)) + 1
    assert lines > 2
    added = with_caption.shape[0] - plainly.shape[0]
    assert added == blue[0] - box_of(plainly, BLUE)[0] == lines * CAPTION_LINE_HEIGHT
