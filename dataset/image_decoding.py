"""Decode images of any bit depth and channel count to 8-bit RGB.

What cannot be converted without a guess is refused: more than 8 bits without a stated white level,
transparent pixels, and print colors.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import UInt8

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # Start of frame, with the channels.
_SOS, _EOI = 0xDA, 0xD9
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # Markers without a segment.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # The next marker after coded data.
_PRINT_CHANNELS = 4
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,  # The flag without color, which _RGB states.
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_COPY_AGAIN = "The file is corrupt: copy it again from its source."


def decode_image(where: str, data: bytes) -> np.ndarray:
    """Decode an image as stored: (H, W) or (H, W, channels) in the order BGR or BGRA.

    The EXIF rotation is ignored: the calibration is for stored pixels. Data behind the end of the
    image is ignored too, such as the second image of an MPO file.

    Args:
        where: The file, for errors.
        data: Its content.

    Raises:
        ValueError: If the image is truncated, in print colors or not an image.
    """
    _check_whole(where, data)
    return _decoded(where, data, cv2.IMREAD_UNCHANGED)


@dataclass(frozen=True)
class EncodedImage:
    """An image file in memory, decoded on demand.

    Attributes:
        where: The file, for errors.
        data: Its content.
        image_max: As for ``rgb_from_stored``.
    """

    where: str
    data: bytes
    image_max: float | int | None = None

    @property
    def is_jpeg(self) -> bool:
        """Whether it can be decoded at a reduced size."""
        return self.data.startswith(_JPEG)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width; of a JPEG without decoding it.

        Raises:
            ValueError: If the image is invalid.
        """
        stated = _jpeg_size(self.data) if self.is_jpeg else None
        if stated is not None:
            return stated
        image = self.rgb()
        return image.shape[0], image.shape[1]

    def rgb(self, reduction: int = 1) -> UInt8[np.ndarray, "H W 3"]:
        """Decode it to 8-bit RGB.

        Args:
            reduction: 1, or 2, 4 or 8 for a JPEG to be decoded at that fraction of its size,
                rounded up.

        Raises:
            ValueError: Like ``decode_image`` and ``rgb_from_stored``.
        """
        if not self.is_jpeg:
            assert reduction == 1, "only JPEGs can be decoded at a reduced size"
            return self._converted
        self.check_whole()
        return _decoded(self.where, self.data, _RGB | _REDUCED[reduction])

    def check_whole(self) -> None:
        """Reject what decoders silently pad or guess: a truncated file, a JPEG in print colors.

        Raises:
            ValueError: If it is one of these.
        """
        _check_whole(self.where, self.data)

    @cached_property
    def _converted(self) -> UInt8[np.ndarray, "H W 3"]:
        stored = decode_image(self.where, self.data)
        return rgb_from_stored(self.where, stored, self.image_max)


def rgb_from_stored(
    where: str, stored: np.ndarray, image_max: float | int | None
) -> UInt8[np.ndarray, "H W 3"]:
    """Convert a decoded image to 8-bit RGB.

    Args:
        where: The file, for errors.
        stored: Image as from ``decode_image``; gray becomes three equal channels.
        image_max: White level of images with more than 8 bits, such as 4095 for 12 bits; 8-bit
            images do not use it.

    Raises:
        ValueError: If the image has transparent pixels, or more than 8 bits without a white level
            that fits its values.
    """
    if stored.ndim == 3 and stored.shape[2] == 4:
        stored = _without_alpha(where, stored)
    if stored.dtype != np.uint8:
        stored = _scaled(where, stored, image_max)
    code = cv2.COLOR_GRAY2RGB if stored.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(stored, code)


def _check_whole(where: str, data: bytes) -> None:
    """Reject a truncated JPEG or PNG, which decoders silently pad."""
    if data.startswith(_JPEG):
        is_whole = _is_whole_jpeg(where, data)
    elif data.startswith(_PNG):
        is_whole = _is_whole_png(data)
    else:
        is_whole = True
    if not is_whole:
        found = f"one cut off at byte {len(data)}"
        raise ValueError(f"{where}: expected a complete image, found {found}. {_COPY_AGAIN}")


def _decoded(where: str, data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # Such as a header with more pixels than OpenCV allows.
        image = None
    if image is None:
        found = f"{len(data)} bytes that cannot be decoded"
        raise ValueError(f"{where}: expected an image (JPEG or PNG), found {found}. {_COPY_AGAIN}")
    return image


def _without_alpha(where: str, stored: np.ndarray) -> np.ndarray:
    opaque = np.iinfo(stored.dtype).max if stored.dtype.kind in "iu" else 1.0
    share = float((stored[..., 3] != opaque).mean())
    if share:
        raise ValueError(
            f"{where}: expected an opaque image, found {100 * share:.1f} % of the pixels "
            "transparent. Save it without an alpha channel."
        )
    return np.ascontiguousarray(stored[..., :3])


def _scaled(
    where: str, stored: np.ndarray, image_max: float | int | None
) -> UInt8[np.ndarray, "H W *channels"]:
    """Scale by the white level; the range of a single image would flicker between frames."""
    low, high = float(stored.min()), float(stored.max())
    found = f"{stored.dtype} values from {low:g} to {high:g}"
    if image_max is None:
        advice = (
            "Convert all images to 8 bits with one scale, or, for a recording, state the white "
            f"level as image_max in calib.json{_likely(stored.dtype, high)}."
        )
        raise ValueError(f"{where}: expected 8 bits per channel, found {found}. {advice}")
    if not 0 <= low <= high <= image_max:  # NaN fails too.
        raise ValueError(
            f"{where}: expected values from 0 to image_max, {image_max:g}, found {found}. Correct "
            "image_max in calib.json."
        )
    return np.rint(stored * np.float64(255.0 / image_max)).astype(np.uint8)


def _likely(dtype: np.dtype, high: float) -> str:
    """Return the likely white level of an image as a hint; "" if there is none."""
    if dtype.kind == "f":
        return " (1.0 if it is normalized)" if high <= 1 else ""
    bits = next((bits for bits in (10, 12, 14, 16) if high < 2**bits), None)
    return "" if bits is None else f" ({2**bits - 1} if the camera has {bits} bits)"


def _is_whole_jpeg(where: str, data: bytes) -> bool:
    """Return whether the first image of a JPEG file reaches its end marker.

    Raises:
        ValueError: If its channels are print colors (CMYK), which have no fixed meaning as RGB.
    """
    for marker, at in _jpeg_markers(data):
        if marker in _SOF and data[at + 7 : at + 8] == bytes([_PRINT_CHANNELS]):
            raise ValueError(
                f"{where}: expected RGB or gray, found a JPEG in print colors (CMYK). Convert "
                "it to RGB."
            )
        if marker == _EOI:
            return True
    return False


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width of the first image of a JPEG file; None if not stated."""
    for marker, at in _jpeg_markers(data):
        if marker in _SOF:
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (3, 5))
            return (height, width) if height and width else None
    return None


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of the first image of a JPEG file, with the positions behind them.

    Segments are skipped by their length, so markers inside a thumbnail do not count.
    """
    at = len(_JPEG)
    while at + 1 < len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # Fill bytes, or garbage that decoders skip.
            at += 1
            continue
        at += 2
        yield marker, at
        if marker == _EOI:
            return
        if marker not in _BARE:
            at += int.from_bytes(data[at : at + 2], "big")
        if marker == _SOS:
            found = _MARKER.search(data, at)
            at = len(data) if found is None else found.start()


def _is_whole_png(data: bytes) -> bool:
    """Return whether the chunks of a PNG file reach its end."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return at <= len(data)
    return False
