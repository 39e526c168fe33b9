"""A page to draw images and text on, and the colors of pages."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from dataset.sample import Sample

Rgb = tuple[int, int, int]

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (32, 36, 44)
FAINT_INK: Rgb = (112, 118, 130)
FRAME: Rgb = (206, 210, 218)
DAY: Rgb = (248, 249, 251)
"""Background of voxels on a page for screens."""
NIGHT: Rgb = (24, 26, 34)
"""Background of LiDAR points, whose colors are bright."""
MARGIN = 24
"""Margin of a page [px]."""


class Style(NamedTuple):
    """Colors of a page, and its scale.

    Attributes:
        paper: Background of the page.
        background: Background of voxels and maps.
        ink: Color of text.
        faint_ink: Color of secondary text and marks.
        frame: Color of the lines around panels.
        scale: Pixels per unit of page coordinates, for text and lines; panels are pasted pixel by
            pixel and must be drawn this much larger.
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
"""Styles of figures."""


class Page:
    """A page of images and text, with coordinates from its upper left corner."""

    def __init__(self, width: float | int, height: float | int, style: Style = SCREEN) -> None:
        self.style = style
        size = (round(width * style.scale), round(height * style.scale))
        self._image = Image.new("RGB", size, style.paper)
        self._draw = ImageDraw.Draw(self._image)

    @classmethod
    def over(cls, image: UInt8[np.ndarray, "height width 3"], style: Style = SCREEN) -> "Page":
        """Create a page from an RGB image, to draw over it."""
        page = cls(1, 1, style)
        page._image = Image.fromarray(image)
        page._draw = ImageDraw.Draw(page._image)
        return page

    def paste(
        self, image: UInt8[np.ndarray, "height width 3"], x: float | int, y: float | int
    ) -> None:
        """Paste an RGB image pixel by pixel, with a thin frame around it."""
        height, width = image.shape[:2]
        left, top = self._pixel(x), self._pixel(y)
        line = max(1, round(self.style.scale))
        box = (left - line, top - line, left + width + line - 1, top + height + line - 1)
        self._draw.rectangle(box, outline=self.style.frame, width=line)
        self._image.paste(Image.fromarray(image), (left, top))

    def fill(
        self,
        color: Rgb,
        box: tuple[float | int, float | int, float | int, float | int],
    ) -> None:
        """Fill a box (left, top, right, bottom) with a color."""
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
        """Write one line of text, in ink by default.

        ``anchor`` is the part of the text at (x, y), as in Pillow: l, m or r, then t, m or s.
        """
        scale = self.style.scale
        font, ink = _font(round(size * scale)), color or self.style.ink
        self._draw.text((x * scale, y * scale), text, fill=ink, font=font, anchor=anchor)

    def write_boxed(self, text: str, x: float | int, y: float | int, *, size: int = 15) -> None:
        """Write one line in a box of paper color with its upper left corner at (x, y)."""
        self.fill(self.style.paper, (x, y, x + text_width(text, size) + 12, y + size + 9))
        self.write(text, x + 6, y + size / 2 + 5, size=size)

    def write_vertical(self, text: str, x: float | int, y: float | int, *, size: int = 15) -> None:
        """Write one line from bottom to top, centered at (x, y)."""
        width, height = round(text_width(text, size)) + 4, 2 * size
        label = Page(width, height, self.style)
        label.write(text, width / 2, height / 2, size=size, anchor="mm")
        turned = label._image.transpose(Image.Transpose.ROTATE_90)
        self._image.paste(turned, (self._pixel(x - height // 2), self._pixel(y - width // 2)))

    def swatch(self, color: Rgb, x: float | int, y: float | int, side: int) -> None:
        """Draw a small square of a color, with its left edge at x and vertically centered at y."""
        box = [self._pixel(v) for v in (x, y - side // 2, x + side, y - side // 2 + side)]
        radius = 3 * self.style.scale
        self._draw.rounded_rectangle(box, radius=radius, fill=color, outline=self.style.faint_ink)

    def image(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the page as an RGB image."""
        return np.array(self._image)

    def _pixel(self, value: float | int) -> int:
        return round(value * self.style.scale)


def frame_title(sample: Sample) -> str:
    """Return the title of a frame: its scene, if any, and its stem."""
    return f"{sample.scene}  ·  {sample.stem}" if sample.scene else sample.stem


def text_width(text: str, size: int) -> float:
    """Return the width of a line of text [px]."""
    return _font(size).getlength(text)


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break a text into lines of at most this width [px]."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fit(
    image: UInt8[np.ndarray, "height width 3"], width: int, height: int
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Scale an image to exactly width × height pixels."""
    shrinks = width < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType: reinstall it from PyPI")
    return font
