"""A chart of classes: how often each occurs, beside other counts, and how far away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from engine.pictures.page import FAINT_INK, MARGIN, Page, Rgb

ROW = 40
BAR_WIDTH = 460
CELL = 34
DECADES = 6
"""The bars' scale is logarithmic, from 100 % down by this many powers of ten."""
_NAMES_WIDTH = 170
_BAR_HEIGHT = 15
_TOP = 104
_GRID: Rgb = (232, 235, 240)
_OTHER: Rgb = (122, 130, 144)


@dataclass(frozen=True)
class ClassRow:
    """One class of the chart.

    Attributes:
        name: The class.
        color: Of its bar.
        share: Its share of all, 0–1.
        other_share: The same in the counts to compare with.
        note: Words behind the name of the last column.
        spread: Its share of each distance, which sum to 1, or to 0 where it does not occur.
    """

    name: str
    color: Rgb
    share: float
    other_share: float
    note: str
    spread: tuple[float, ...]


def class_chart(
    title: str, other: str, rows: Sequence[ClassRow], *, note: str, distances: Sequence[str]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the classes below each other: a pair of bars, a note, and the distances as shades.

    Args:
        title: What is counted.
        other: What the grey bars are.
        rows: The classes.
        note: Head of the column of notes.
        distances: Head of each distance.

    Returns:
        RGB picture.
    """
    left = MARGIN + _NAMES_WIDTH
    notes = left + BAR_WIDTH + 130
    cells = notes + 30
    page = Page(cells + CELL * len(distances) + MARGIN, _TOP + ROW * len(rows) + MARGIN)
    page.write(title, MARGIN, MARGIN, size=20)
    page.write(f"share of labelled voxels; grey: {other}", left, 60, size=14, color=FAINT_INK)
    page.write(note, notes, 60, size=14, color=FAINT_INK, anchor="rm")
    page.write("distance [m]", cells, 60, size=14, color=FAINT_INK)
    bottom = _TOP + ROW * len(rows)
    for decade in range(DECADES + 1):
        x = left + bar_length(10.0 ** (decade - DECADES))
        page.paste(_block(1, bottom - _TOP, _GRID), x, _TOP)
        label = f"{10.0 ** (decade - DECADES + 2):g} %"
        page.write(label, x, 84, size=12, color=FAINT_INK, anchor="mm")
    for i, head in enumerate(distances):
        page.write(head, cells + CELL * i + CELL // 2, 84, size=12, color=FAINT_INK, anchor="mm")
    for i, row in enumerate(rows):
        top = _TOP + ROW * i
        page.write(row.name, left - 12, top + ROW // 2, size=15, anchor="rm")
        _draw_bar(page, row.share, row.color, left, top + 4)
        _draw_bar(page, row.other_share, _OTHER, left, top + 5 + _BAR_HEIGHT)
        page.write(row.note, notes, top + ROW // 2, size=14, anchor="rm")
        _draw_spread(page, row, cells, top)
    return page.picture()


def bar_length(share: float) -> int:
    """Length of a share's bar [px], at least 0."""
    if share <= 0:
        return 0
    return max(0, round(BAR_WIDTH * (1 + np.log10(share) / DECADES)))


def percent(share: float) -> str:
    """A share as text, with enough digits to tell rare classes apart."""
    value = 100 * share
    return f"{value:.1f} %" if value >= 10 else f"{value:.2g} %"


def _draw_bar(page: Page, share: float, color: Rgb, left: int, top: int) -> None:
    length = bar_length(share)
    if length:
        page.paste(_block(length, _BAR_HEIGHT, color), left, top)
    x, y = left + length + 8, top + _BAR_HEIGHT // 2
    page.write(percent(share) if share else "none", x, y, size=12, color=FAINT_INK)


def _draw_spread(page: Page, row: ClassRow, left: int, top: int) -> None:
    """A cell for each distance, the stronger in colour the more of the class is there."""
    strongest = max(row.spread, default=0.0) or 1.0
    for i, share in enumerate(row.spread):
        strength = share / strongest
        color = np.rint(255 + strength * (np.array(row.color) - 255)).astype(np.uint8)
        cell = np.broadcast_to(color, (ROW - 8, CELL - 4, 3))
        page.paste(np.ascontiguousarray(cell), left + CELL * i, top + 4)


def _block(width: int, height: int, color: Rgb) -> UInt8[np.ndarray, "height width 3"]:
    return np.full((height, width, 3), color, np.uint8)
