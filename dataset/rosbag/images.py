"""Images of ROS, raw and compressed, as 8-bit RGB."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from dataset.image_decoding import decode_image, rgb_from_stored

JPEG_START = b"\xff\xd8\xff"

_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}
_ENCODINGS: dict[str, tuple[str, int, int | None]] = {
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": ("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC1": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": ("u2", 1, cv2.COLOR_GRAY2RGB),
    "16UC1": ("u2", 1, cv2.COLOR_GRAY2RGB),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    **{f"bayer_{order}8": ("u1", 1, code) for order, code in _BAYER.items()},
    **{f"bayer_{order}16": ("u2", 1, code) for order, code in _BAYER.items()},
}
"""Number type, numbers per pixel and OpenCV's conversion to RGB, by name of the encoding."""


class DamagedImageError(ValueError):
    """A compressed image is cut off or cannot be decoded."""


def read_rgb(message: Any, image_max: float | int | None, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """Convert an image to RGB.

    Args:
        message: The decoded message, Image or CompressedImage.
        image_max: White level of images with more than 8 bits.
        where: The topic, for errors.

    Raises:
        DamagedImageError: If it is cut off or cannot be decoded.
        ValueError: If its encoding is unknown, or it has more than 8 bits and no white level.
    """
    if hasattr(message, "encoding"):
        return _from_raw(message, image_max, where)
    try:
        stored = decode_image(where, compressed_bytes(message))
    except ValueError as error:
        raise DamagedImageError(str(error)) from error
    source = message.format.split(";")[0].strip()
    if stored.ndim == 2 and source.startswith("bayer_"):
        code = _BAYER[source.removeprefix("bayer_").rstrip("0123456789")]
        return cv2.cvtColor(_eight_bits(stored, image_max, where), code)
    if stored.dtype != np.uint8:
        stored = _eight_bits(stored, image_max, where)
    return rgb_from_stored(where, stored, None)


def compressed_bytes(message: Any) -> bytes:
    """Return the JPEG or PNG in a CompressedImage."""
    return bytes(message.data)


def _from_raw(
    message: Any, image_max: float | int | None, where: str
) -> UInt8[np.ndarray, "H W 3"]:
    if message.encoding not in _ENCODINGS:
        raise ValueError(
            f"{where}: expected one of the encodings {', '.join(sorted(_ENCODINGS))}, found "
            f"'{message.encoding}'"
        )
    kind, channels, code = _ENCODINGS[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = message.width * channels * dtype.itemsize
    data = np.ascontiguousarray(message.data)
    if message.step < row_bytes or len(data) < message.height * message.step:
        raise DamagedImageError(
            f"{where}: expected {message.width}×{message.height} pixels in '{message.encoding}', "
            f"found {len(data)} bytes in rows of {message.step}"
        )
    rows = data[: message.height * message.step].reshape(message.height, message.step)
    numbers = np.ascontiguousarray(rows[:, :row_bytes]).view(dtype)
    pixels = numbers.reshape(message.height, message.width, channels)
    pixels = _eight_bits(pixels[..., 0] if channels == 1 else pixels, image_max, where)
    return pixels.copy() if code is None else cv2.cvtColor(pixels, code)


def _eight_bits(
    pixels: np.ndarray, image_max: float | int | None, where: str
) -> UInt8[np.ndarray, "H W *channels"]:
    """Scale pixels by the white level; 8 bits stay as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    largest = int(pixels.max(initial=0))
    if image_max is None or largest > image_max:
        stated = "no white level" if image_max is None else f"--image-max {image_max:g}"
        raise ValueError(
            f"{where}: expected 8 bits per channel or the white level of the camera, found "
            f"{pixels.dtype} up to {largest} and {stated}. Pass --image-max, such as 4095 for a "
            "camera with 12 bits"
        )
    return np.rint(pixels * (255.0 / image_max)).astype(np.uint8)
