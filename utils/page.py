"""Pages of pictures: panels with captions, tables of them, and sheets of several pages."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (32, 36, 44)
FAINT_INK: Rgb = (112, 118, 130)
FRAME: Rgb = (206, 210, 218)
MARGIN = 24
GUTTER = 30
"""Room for the names of the rows, left of a table [px]."""
GAP = 12
TITLE_HEIGHT = 30
HEADER_HEIGHT = 30
LEGEND_HEIGHT = 44
WORDS_SIZE, WORDS_HEIGHT = 16, 24
SWATCH = 16
ENCODING = {".png": (), ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 88)}
"""Picture formats, and what cv2 is told about each."""


class Page:
    """A sheet that pictures and words are put on, at pixels counted from its upper left."""

    def __init__(self, width: int, height: int, *, color: Rgb = PAPER) -> None:
        self._image = Image.new("RGB", (width, height), color)
        self._draw = ImageDraw.Draw(self._image)

    def paste(self, picture: UInt8[np.ndarray, "height width 3"], x: int, y: int) -> None:
        """Put an RGB picture on the page, with a thin frame around it."""
        height, width = picture.shape[:2]
        self._draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        self._image.paste(Image.fromarray(picture), (x, y))

    def write(
        self,
        text: str,
        x: float | int,
        y: float | int,
        *,
        size: int = 15,
        color: Rgb = INK,
        anchor: str = "lm",
    ) -> None:
        """Write one line; ``anchor`` says what lies at (x, y): l, m or r, then t, m or s."""
        self._draw.text((x, y), text, fill=color, font=_font(size), anchor=anchor)

    def write_upwards(self, text: str, x: int, y: int, *, size: int = 15) -> None:
        """Write one line from bottom to top with its middle at (x, y)."""
        width, height = round(text_width(text, size)) + 4, 2 * size
        label = Page(width, height)
        label.write(text, width / 2, height / 2, size=size, anchor="mm")
        turned = label._image.transpose(Image.Transpose.ROTATE_90)
        self._image.paste(turned, (x - height // 2, y - width // 2))

    def swatch(self, color: Rgb, x: int, y: int, side: int) -> None:
        """A small square of a colour with its left edge at x and its middle at height y."""
        box = (x, y - side // 2, x + side, y - side // 2 + side)
        self._draw.rounded_rectangle(box, radius=3, fill=color, outline=FAINT_INK)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The page as an RGB picture."""
        return np.array(self._image)


class LegendEntry(NamedTuple):
    """A colour, what it means, and a few smaller words below."""

    name: str
    color: Rgb
    note: str = ""


def text_width(text: str, size: int) -> float:
    """Width [px] of a line of text."""
    return _font(size).getlength(text)


def wrap(text: str, size: int, width: int) -> list[str]:
    """Lines of a text that are at most so wide, of as many words each as fit."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fit(
    picture: UInt8[np.ndarray, "height width 3"], width: int, height: int
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Scale a picture to exactly width × height pixels."""
    shrinks = width < picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=method)


def table_page(
    title: str,
    note: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[UInt8[np.ndarray, "_ _ 3"]]]],
    legend: Sequence[Sequence[LegendEntry]],
    *,
    words: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """A page with a table of panels: titles over the columns, a name beside each row, a legend.

    Args:
        title: First line, on the left.
        note: Smaller words at the end of the first line.
        columns: Title of each column.
        rows: Name and panels of each row; a column is as wide as its widest panel.
        legend: What the colours mean, below the table; each group begins a new line.
        words: Text below the first row; each begins a new line, and long ones take several.

    Returns:
        RGB picture.

    Raises:
        ValueError: If a row has more or fewer panels than there are columns.
    """
    for name, panels in rows:
        if len(panels) != len(columns):
            raise ValueError(f"row '{name}' has {len(panels)} panels for {len(columns)} columns")
    widths = [max(panels[i].shape[1] for _, panels in rows) for i in range(len(columns))]
    heights = [max(panel.shape[0] for panel in panels) for _, panels in rows]
    lefts = [MARGIN + GUTTER + sum(widths[:i]) + i * GAP for i in range(len(columns))]
    page_width = lefts[-1] + widths[-1] + MARGIN
    room = page_width - lefts[0] - MARGIN
    lines = [line for group in legend for line in _legend_lines(group, room)]
    below = [line for text in words for line in wrap(text, WORDS_SIZE, room)]
    top = MARGIN + TITLE_HEIGHT + HEADER_HEIGHT
    bottom = top + sum(heights) + len(heights) * GAP + len(below) * WORDS_HEIGHT
    page = Page(page_width, bottom + LEGEND_HEIGHT * len(lines) + MARGIN // 2)
    page.write(title, lefts[0], MARGIN + 8, size=22)
    page.write(note, page_width - MARGIN, MARGIN + 8, size=18, color=FAINT_INK, anchor="rm")
    for column, left, width in zip(columns, lefts, widths, strict=True):
        page.write(column, left + width / 2, top - 14, size=16, color=FAINT_INK, anchor="mm")
    for (name, panels), height in zip(rows, heights, strict=True):
        page.write_upwards(name, MARGIN + GUTTER // 3, top + height // 2, size=18)
        for panel, left, width in zip(panels, lefts, widths, strict=True):
            x = left + (width - panel.shape[1]) // 2
            page.paste(panel, x, top + (height - panel.shape[0]) // 2)
        top += height + GAP
        for text in below:
            page.write(text, lefts[0], top + WORDS_HEIGHT // 2 - 4, size=WORDS_SIZE)
            top += WORDS_HEIGHT
        below = []  # They belong to the first row.
    for number, line in enumerate(lines):
        y = bottom + LEGEND_HEIGHT * number + LEGEND_HEIGHT // 2
        for entry, x in line:
            page.swatch(entry.color, lefts[0] + x, y - 8, SWATCH)
            page.write(entry.name, lefts[0] + x + SWATCH + 6, y - 8, size=14)
            page.write(entry.note, lefts[0] + x + SWATCH + 6, y + 9, size=13, color=FAINT_INK)
    return page.picture()


def write_picture(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB picture as ``.png`` or ``.jpg``; the file appears complete or not at all.

    Raises:
        ValueError: If the ending is another one.
    """
    if path.suffix not in ENCODING:
        raise ValueError(f"pictures are written as .png or .jpg, got {path}")
    _, encoded = cv2.imencode(path.suffix, picture[..., ::-1], ENCODING[path.suffix])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(encoded.tobytes())
    partial.replace(path)


def _legend_lines(legend: Sequence[LegendEntry], width: int) -> list[list[tuple[LegendEntry, int]]]:
    """Entries with their left edges, as many on a line as fit."""
    lines: list[list[tuple[LegendEntry, int]]] = [[]]
    left = 0
    for entry in legend:
        needed = SWATCH + 6 + max(text_width(entry.name, 14), text_width(entry.note, 13))
        if lines[-1] and left + needed > width:
            lines.append([])
            left = 0
        lines[-1].append((entry, left))
        left += round(needed) + 18
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType and cannot write text")
    return font
