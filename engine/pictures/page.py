"""Pages of pictures: panels with captions, tables of them, and sheets of several pages."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from dataset.sample import Sample
from utils.whole_files import write_whole

Rgb = tuple[int, int, int]

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (32, 36, 44)
FAINT_INK: Rgb = (112, 118, 130)
FRAME: Rgb = (206, 210, 218)
DAY: Rgb = (248, 249, 251)
"""Background of voxels on a page for the screen."""
NIGHT: Rgb = (24, 26, 34)
"""Background of points, whose colours are bright."""
MARGIN = 24
GUTTER = 30
"""Room for the names of the rows, left of a table [px]."""
GAP = 12
TITLE_HEIGHT = 30
HEADER_HEIGHT = 30
LEGEND_HEIGHT, BARE_LEGEND_HEIGHT = 44, 26
"""Height of a line of the legend, with and without notes."""
WORDS_SIZE, WORDS_HEIGHT = 16, 24
SWATCH, RAMP = 16, 150
"""Width of a legend's square, and of its bar of a colour map [px]."""
ENCODING = {".png": (), ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 88)}
"""RgbImage formats, and what cv2 is told about each."""


class Style(NamedTuple):
    """Colours of a page, and how large everything on it is.

    Attributes:
        paper: Background of the page.
        background: Behind voxels and maps.
        ink: Letters.
        faint_ink: Letters and marks of less weight.
        frame: Lines around the panels.
        scale: Pixels of the page for one of its coordinates, letters and lines included; the
            panels must be so much larger.
    """

    paper: Rgb = PAPER
    background: Rgb = DAY
    ink: Rgb = INK
    faint_ink: Rgb = FAINT_INK
    frame: Rgb = FRAME
    scale: float | int = 1


SCREEN = Style()
STYLES = {
    "white": Style(background=PAPER),
    "dark": Style((14, 15, 19), NIGHT, (236, 238, 242), (150, 156, 168), (58, 62, 72)),
}
"""Styles of figures by the colour of their background."""


class Page:
    """A sheet that pictures and words are put on, at coordinates counted from its upper left."""

    def __init__(self, width: float | int, height: float | int, style: Style = SCREEN) -> None:
        self.style = style
        size = (round(width * style.scale), round(height * style.scale))
        self._image = Image.new("RGB", size, style.paper)
        self._draw = ImageDraw.Draw(self._image)

    @classmethod
    def over(cls, picture: UInt8[np.ndarray, "height width 3"], style: Style = SCREEN) -> "Page":
        """A page that is an RGB picture, to write on it."""
        page = cls(1, 1, style)
        page._image = Image.fromarray(picture)
        page._draw = ImageDraw.Draw(page._image)
        return page

    def paste(
        self, picture: UInt8[np.ndarray, "height width 3"], x: float | int, y: float | int
    ) -> None:
        """Put an RGB picture on the page, pixel by pixel, with a thin frame around it."""
        height, width = picture.shape[:2]
        left, top = self._pixel(x), self._pixel(y)
        line = max(1, round(self.style.scale))
        box = (left - line, top - line, left + width + line - 1, top + height + line - 1)
        self._draw.rectangle(box, outline=self.style.frame, width=line)
        self._image.paste(Image.fromarray(picture), (left, top))

    def fill(
        self,
        color: Rgb,
        box: tuple[float | int, float | int, float | int, float | int],
    ) -> None:
        """Fill a box (left, top, right, bottom) with a colour."""
        left, top, right, bottom = (self._pixel(value) for value in box)
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill=color)

    def write(
        self,
        text: str,
        x: float | int,
        y: float | int,
        *,
        size: int = 15,
        color: Rgb | None = None,
        anchor: str = "lm",
    ) -> None:
        """Write one line, in ink unless a colour is given.

        ``anchor`` says what lies at (x, y): l, m or r, then t, m or s.
        """
        scale = self.style.scale
        font, ink = _font(round(size * scale)), color or self.style.ink
        self._draw.text((x * scale, y * scale), text, fill=ink, font=font, anchor=anchor)

    def write_boxed(self, text: str, x: float | int, y: float | int, *, size: int = 15) -> None:
        """Write one line on a box of paper whose upper left is at (x, y)."""
        self.fill(self.style.paper, (x, y, x + text_width(text, size) + 12, y + size + 9))
        self.write(text, x + 6, y + size / 2 + 5, size=size)

    def write_upwards(self, text: str, x: float | int, y: float | int, *, size: int = 15) -> None:
        """Write one line from bottom to top with its middle at (x, y)."""
        width, height = round(text_width(text, size)) + 4, 2 * size
        label = Page(width, height, self.style)
        label.write(text, width / 2, height / 2, size=size, anchor="mm")
        turned = label._image.transpose(Image.Transpose.ROTATE_90)
        self._image.paste(turned, (self._pixel(x - height // 2), self._pixel(y - width // 2)))

    def swatch(self, color: Rgb, x: float | int, y: float | int, side: int) -> None:
        """A small square of a colour with its left edge at x and its middle at height y."""
        box = [self._pixel(v) for v in (x, y - side // 2, x + side, y - side // 2 + side)]
        radius = 3 * self.style.scale
        self._draw.rounded_rectangle(box, radius=radius, fill=color, outline=self.style.faint_ink)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The page as an RGB picture."""
        return np.array(self._image)

    def _pixel(self, value: float | int) -> int:
        return round(value * self.style.scale)


class LegendEntry(NamedTuple):
    """A colour or a map of colours, what it means, and a few smaller words below."""

    name: str
    color: Rgb | UInt8[np.ndarray, "256 3"]
    note: str = ""

    @property
    def swatch_width(self) -> int:
        """Width of the coloured part."""
        return SWATCH if isinstance(self.color, tuple) else RAMP


def frame_title(sample: Sample) -> str:
    """First line of a frame's page: its scene, where it has one, and its stem."""
    return f"{sample.scene}  ·  {sample.stem}" if sample.scene else sample.stem


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
    style: Style = SCREEN,
) -> UInt8[np.ndarray, "height width 3"]:
    """A page with a table of panels: titles over the columns, a name beside each row, a legend.

    Args:
        title: First line, on the left. Without title and note there is no such line.
        note: Smaller words at the end of the first line.
        columns: Title of each column.
        rows: Name and panels of each row; a column is as wide as its widest panel.
        legend: What the colours mean, below the table; each group begins a new line.
        words: Text below the first row; each begins a new line, and long ones take several.
        style: Colours and scale.

    Returns:
        RGB picture.

    Raises:
        ValueError: If a row has more or fewer panels than there are columns.
    """
    for name, panels in rows:
        if len(panels) != len(columns):
            raise ValueError(f"row '{name}' has {len(panels)} panels for {len(columns)} columns")
    scale = style.scale
    widths = [max(panels[i].shape[1] for _, panels in rows) / scale for i in range(len(columns))]
    heights = [max(panel.shape[0] for panel in panels) / scale for _, panels in rows]
    gutter = GUTTER if any(name for name, _ in rows) else 0
    lefts = [MARGIN + gutter + sum(widths[:i]) + i * GAP for i in range(len(columns))]
    page_width = lefts[-1] + widths[-1] + MARGIN
    room = round(page_width - lefts[0] - MARGIN)
    lines = [line for group in legend for line in legend_lines(group, room)]
    below = [line for text in words for line in wrap(text, WORDS_SIZE, room)]
    top: float = MARGIN + (TITLE_HEIGHT if title or note else 0) + HEADER_HEIGHT
    if not any(columns):
        top -= HEADER_HEIGHT
    bottom = top + sum(heights) + len(heights) * GAP + len(below) * WORDS_HEIGHT
    page = Page(page_width, bottom + legend_height(lines) + MARGIN // 2, style)
    page.write(title, lefts[0], MARGIN + 8, size=22)
    faint = style.faint_ink
    page.write(note, page_width - MARGIN, MARGIN + 8, size=18, color=faint, anchor="rm")
    for column, left, width in zip(columns, lefts, widths, strict=True):
        page.write(column, left + width / 2, top - 14, size=16, color=faint, anchor="mm")
    for (name, panels), height in zip(rows, heights, strict=True):
        page.write_upwards(name, MARGIN + GUTTER // 3, top + height // 2, size=18)
        for panel, left, width in zip(panels, lefts, widths, strict=True):
            x = left + (width - panel.shape[1] / scale) // 2
            page.paste(panel, x, top + (height - panel.shape[0] / scale) // 2)
        top += height + GAP
        for text in below:
            page.write(text, lefts[0], top + WORDS_HEIGHT // 2 - 4, size=WORDS_SIZE)
            top += WORDS_HEIGHT
        below = []  # They belong to the first row.
    write_legend(page, lines, lefts[0], bottom)
    return page.picture()


def legend_height(lines: Sequence[Sequence[tuple[LegendEntry, int]]]) -> int:
    """Height of the lines of a legend."""
    return sum(_line_height(line) for line in lines)


def write_legend(
    page: Page,
    lines: Sequence[Sequence[tuple[LegendEntry, int]]],
    left: float | int,
    top: float | int,
) -> None:
    """Write the lines of a legend, with their upper left at (left, top)."""
    for line in lines:
        _write_line(page, line, left, top + 14)
        top += _line_height(line)


def _line_height(line: Sequence[tuple[LegendEntry, int]]) -> int:
    return LEGEND_HEIGHT if any(entry.note for entry, _ in line) else BARE_LEGEND_HEIGHT


def _write_line(
    page: Page, line: Sequence[tuple[LegendEntry, int]], left: float | int, y: float | int
) -> None:
    """Write a line of the legend; its squares have their middle at height y."""
    for entry, x in line:
        if isinstance(entry.color, tuple):
            page.swatch(entry.color, left + x, y, SWATCH)
        else:
            width, height = round(RAMP * page.style.scale), round(SWATCH * page.style.scale)
            ramp = entry.color[np.linspace(0, 255, width).round().astype(int)]
            page.paste(np.tile(ramp, (height, 1, 1)), left + x, y - SWATCH // 2)
        words = left + x + entry.swatch_width + 6
        page.write(entry.name, words, y, size=14)
        page.write(entry.note, words, y + 17, size=13, color=page.style.faint_ink)


def check_image_path(path: Path) -> None:
    """Refuse a picture that could not be written, before it is drawn.

    Raises:
        ValueError: If the ending is not that of a format.
    """
    if path.suffix not in ENCODING:
        raise ValueError(f"pictures are written as .png or .jpg, got {path}")


def write_image(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB picture as ``.png`` or ``.jpg``; the file appears complete or not at all.

    Raises:
        ValueError: If the ending is another one.
    """
    check_image_path(path)
    _, encoded = cv2.imencode(path.suffix, picture[..., ::-1], ENCODING[path.suffix])
    write_whole(path, encoded.tobytes())


def legend_lines(legend: Sequence[LegendEntry], width: int) -> list[list[tuple[LegendEntry, int]]]:
    """Entries with their left edges, as many on a line as fit."""
    lines: list[list[tuple[LegendEntry, int]]] = [[]]
    left = 0
    for entry in legend:
        needed = (
            entry.swatch_width + 6 + max(text_width(entry.name, 14), text_width(entry.note, 13))
        )
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
