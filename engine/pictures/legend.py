"""Legends: named colors and color maps, wrapped into lines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from engine.pictures.page import Page, Rgb, text_width
from utils.labels import LabelSet

NAME_SIZE, NOTE_SIZE = 14, 13
LINE_HEIGHT, BARE_LINE_HEIGHT = 44, 26
"""Height of a line with and without notes [px]."""
SWATCH, RAMP = 16, 150
"""Width of a color swatch, and of a color bar [px]."""
_PADDING, _SPACING = 6, 18
"""Space between a swatch and its name, and between entries [px]."""


class LegendEntry(NamedTuple):
    """A color or a color map, its name, and a note in small print below."""

    name: str
    color: Rgb | UInt8[np.ndarray, "256 3"]
    note: str = ""

    @property
    def swatch_width(self) -> int:
        """Width of the colored part [px]."""
        return SWATCH if isinstance(self.color, tuple) else RAMP

    @property
    def width(self) -> int:
        """Width of the entry [px]."""
        text = max(text_width(self.name, NAME_SIZE), text_width(self.note, NOTE_SIZE))
        return round(self.swatch_width + _PADDING + text)

    def draw(self, page: Page, left: float | int, middle: float | int) -> None:
        """Draw the entry, with swatch and name vertically centered at ``middle``."""
        if isinstance(self.color, tuple):
            page.swatch(self.color, left, middle, SWATCH)
        else:
            width, height = (round(length * page.style.scale) for length in (RAMP, SWATCH))
            ramp = self.color[np.linspace(0, 255, width).round().astype(int)]
            page.paste(np.tile(ramp, (height, 1, 1)), left, middle - SWATCH // 2)
        text_left = left + self.swatch_width + _PADDING
        page.write(self.name, text_left, middle, size=NAME_SIZE)
        faint = page.style.faint_ink
        page.write(self.note, text_left, middle + 17, size=NOTE_SIZE, color=faint)


class Legend:
    """Groups of entries; each group starts a new line, and long lines wrap.

    Args:
        groups: The entries.
        width: Maximum width of a line [px].
    """

    def __init__(self, groups: Sequence[Sequence[LegendEntry]], width: int) -> None:
        self._lines = [line for group in groups for line in _wrap_entries(group, width)]

    @property
    def height(self) -> int:
        """Height of all lines [px]."""
        return sum(map(_line_height, self._lines))

    def draw(self, page: Page, left: float | int, top: float | int) -> None:
        """Draw the legend with its upper left corner at (left, top)."""
        for line in self._lines:
            x = left
            for entry in line:
                entry.draw(page, x, top + 14)
                x += entry.width + _SPACING
            top += _line_height(line)


def _wrap_entries(entries: Sequence[LegendEntry], width: int) -> list[list[LegendEntry]]:
    """Break entries into lines of at most this width [px]."""
    lines: list[list[LegendEntry]] = [[]]
    used = 0
    for entry in entries:
        if lines[-1] and used + entry.width > width:
            lines.append([])
            used = 0
        lines[-1].append(entry)
        used += entry.width + _SPACING
    return lines


def _line_height(line: Sequence[LegendEntry]) -> int:
    return LINE_HEIGHT if any(entry.note for entry in line) else BARE_LINE_HEIGHT


def class_entries(labels: LabelSet, notes: Sequence[str] | None = None) -> list[LegendEntry]:
    """Return an entry for each class except free, with notes in the same order."""
    names = [name.replace("_", " ") for name in labels.class_names[1:]]
    notes = notes or [""] * len(names)
    return [
        LegendEntry(name, color, note)
        for name, color, note in zip(names, labels.colors[1:], notes, strict=True)
    ]
