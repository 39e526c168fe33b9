import numpy as np

from engine.pictures.legend import (
    BARE_LINE_HEIGHT,
    LINE_HEIGHT,
    RAMP,
    Legend,
    LegendEntry,
    class_entries,
)
from engine.pictures.table_page import table_page
from tests.images import RED, box_of, plain
from utils.labels import UNSCENES3D


def test_a_legend_shows_a_map_of_colors_as_a_bar():
    ramp = np.zeros((256, 3), np.uint8)
    ramp[:, 2] = np.arange(256)
    rows = [("", [plain(RED, 50, 400)])]
    image = table_page("", "", [""], rows, [[LegendEntry("depth", ramp)]])
    below = image[box_of(image, RED)[2] + 3 :]
    assert RAMP - 2 <= (below[..., 0] == 0).any(0).sum() <= RAMP + 60  # And the letters' ink.
    assert (below == (0, 0, 255)).all(-1).any()


def test_a_long_legend_wraps_and_stays_on_the_page():
    entries = [LegendEntry("a rather long name", (i, 0, 99)) for i in range(10)]
    image = table_page("", "", ["only"], [("", [plain(RED, 50, 500)])], [entries])
    boxes = [box_of(image, (i, 0, 99)) for i in range(10)]
    assert len({box[0] for box in boxes}) > 1
    assert max(box[3] for box in boxes) < box_of(image, RED)[3]


def test_a_line_is_higher_where_it_has_notes():
    plain_line = [LegendEntry("one", RED), LegendEntry("two", RED)]
    noted = [LegendEntry("one", RED, "note")]
    assert Legend([plain_line], 500).height == BARE_LINE_HEIGHT
    assert Legend([plain_line, noted], 500).height == BARE_LINE_HEIGHT + LINE_HEIGHT
    assert Legend([plain_line], 20).height == 2 * BARE_LINE_HEIGHT  # Too narrow for both.


def test_every_class_but_free_has_an_entry():
    entries = class_entries(UNSCENES3D)
    assert [entry.name for entry in entries] == [
        name.replace("_", " ") for name in UNSCENES3D.class_names[1:]
    ]
    assert [entry.color for entry in entries] == list(UNSCENES3D.colors[1:])
    notes = [str(number) for number in range(len(entries))]
    assert [entry.note for entry in class_entries(UNSCENES3D, notes)] == notes
