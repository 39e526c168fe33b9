"""Pages with a table of panels: column titles, row names, a caption and a legend."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from engine.pictures.legend import Legend, LegendEntry
from engine.pictures.page import MARGIN, SCREEN, Page, Style, wrap

GUTTER = 30
"""Width of the row names, left of a table [px]."""
GAP = 12
"""Space between panels [px]."""
TITLE_HEIGHT, HEADER_HEIGHT = 30, 30
TITLE_SIZE, NOTE_SIZE, HEADER_SIZE, NAME_SIZE = 22, 18, 16, 18
CAPTION_SIZE, CAPTION_LINE_HEIGHT = 16, 24

Rows = Sequence[tuple[str, Sequence[UInt8[np.ndarray, "_ _ 3"]]]]
"""Name and panels of each row."""


class _Layout(NamedTuple):
    """Layout of a page [px].

    Attributes:
        lefts: Left edge of each column.
        widths: Width of each column.
        tops: Upper edge of each row.
        heights: Height of each row.
        caption: Lines of text below the first row.
        legend: Legend below the table.
        bottom: Lower end of the table.
    """

    lefts: list[float]
    widths: list[float]
    tops: list[float]
    heights: list[float]
    caption: list[str]
    legend: Legend
    bottom: float

    @property
    def width(self) -> float:
        """Width of the page."""
        return self.lefts[-1] + self.widths[-1] + MARGIN

    @property
    def height(self) -> float:
        """Height of the page."""
        return self.bottom + self.legend.height + MARGIN // 2


def table_page(
    title: str,
    note: str,
    columns: Sequence[str],
    rows: Rows,
    legend: Sequence[Sequence[LegendEntry]],
    *,
    caption: Sequence[str] = (),
    style: Style = SCREEN,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a page with a table of panels, each centered in its cell.

    Args:
        title: Title on the left of the first line; without title and note the line is omitted.
        note: Note on the right of the first line.
        columns: Title of each column.
        rows: Name and panels of each row; a column is as wide as its widest panel.
        legend: Legend below the table; each group starts a new line.
        caption: Paragraphs below the first row.
        style: Colors and scale.

    Returns:
        RGB image.

    Raises:
        ValueError: If a row has more or fewer panels than there are columns.
    """
    for name, panels in rows:
        if len(panels) != len(columns):
            raise ValueError(f"row '{name}' has {len(panels)} panels for {len(columns)} columns")
    head = (TITLE_HEIGHT if title or note else 0) + (HEADER_HEIGHT if any(columns) else 0)
    layout = _lay_out(rows, legend, caption, MARGIN + head, style.scale)
    page = Page(layout.width, layout.height, style)
    _write_head(page, layout, title, note, columns)
    _draw_rows(page, layout, rows)
    for number, line in enumerate(layout.caption):
        middle = layout.tops[0] + layout.heights[0] + GAP + CAPTION_LINE_HEIGHT * (number + 0.5)
        page.write(line, layout.lefts[0], middle - 4, size=CAPTION_SIZE)
    layout.legend.draw(page, layout.lefts[0], layout.bottom)
    return page.image()


def _lay_out(
    rows: Rows,
    legend: Sequence[Sequence[LegendEntry]],
    caption: Sequence[str],
    top: float | int,
    scale: float | int,
) -> _Layout:
    """Lay out a page whose first row starts at ``top``."""
    columns = zip(*(panels for _, panels in rows), strict=True)
    widths = [max(panel.shape[1] for panel in column) / scale for column in columns]
    heights = [max(panel.shape[0] for panel in panels) / scale for _, panels in rows]
    first_left = MARGIN + (GUTTER if any(name for name, _ in rows) else 0)
    *lefts, right = accumulate(widths, lambda x, width: x + width + GAP, initial=float(first_left))
    room = round(right - GAP - first_left)
    lines = [line for paragraph in caption for line in wrap(paragraph, CAPTION_SIZE, room)]
    *tops, bottom = accumulate(heights, lambda y, height: y + height + GAP, initial=float(top))
    below_first = len(lines) * CAPTION_LINE_HEIGHT
    tops[1:] = [y + below_first for y in tops[1:]]
    return _Layout(lefts, widths, tops, heights, lines, Legend(legend, room), bottom + below_first)


def _write_head(page: Page, layout: _Layout, title: str, note: str, columns: Sequence[str]) -> None:
    """Write title, note and column titles."""
    faint = page.style.faint_ink
    page.write(title, layout.lefts[0], MARGIN + 8, size=TITLE_SIZE)
    page.write(note, layout.width - MARGIN, MARGIN + 8, size=NOTE_SIZE, color=faint, anchor="rm")
    for column, left, width in zip(columns, layout.lefts, layout.widths, strict=True):
        x, y = left + width / 2, layout.tops[0] - 14
        page.write(column, x, y, size=HEADER_SIZE, color=faint, anchor="mm")


def _draw_rows(page: Page, layout: _Layout, rows: Rows) -> None:
    """Draw the panels and the row names."""
    scale = page.style.scale
    for (name, panels), top, height in zip(rows, layout.tops, layout.heights, strict=True):
        page.write_vertical(name, MARGIN + GUTTER // 3, top + height // 2, size=NAME_SIZE)
        for panel, left, width in zip(panels, layout.lefts, layout.widths, strict=True):
            rows_px, columns_px = panel.shape[:2]
            x = left + (width - columns_px / scale) // 2
            page.paste(panel, x, top + (height - rows_px / scale) // 2)
