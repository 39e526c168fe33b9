"""Image files, written whole."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from utils.whole_files import write_whole

ENCODING = {".png": (), ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 88)}
"""Suffixes of images, and OpenCV's options for each."""


def check_image_path(path: Path) -> None:
    """Reject a path that no image can be written to, before the image is drawn.

    Raises:
        ValueError: If the suffix is unknown.
    """
    if path.suffix not in ENCODING:
        raise ValueError(f"images are written as .png or .jpg, got {path}")


def write_image(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB image as ``.png`` or ``.jpg``; the file appears complete or not at all.

    Raises:
        ValueError: If the suffix is another one.
    """
    check_image_path(path)
    _, encoded = cv2.imencode(path.suffix, image[..., ::-1], ENCODING[path.suffix])
    write_whole(path, encoded.tobytes())
