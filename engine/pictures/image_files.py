"""Image files, written atomically."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from utils.whole_files import write_whole

ENCODING = {".png": (), ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 88)}
"""OpenCV's encoding options by file suffix."""


def check_image_path(path: Path) -> None:
    """Check that an image can be written to a path, before it is drawn.

    Raises:
        ValueError: If the suffix is unknown.
    """
    if path.suffix not in ENCODING:
        raise ValueError(f"an image must be .png or .jpg, got {path}")


def write_image(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB image as ``.png`` or ``.jpg``; the file appears complete or not at all.

    Raises:
        ValueError: If the suffix is unknown.
    """
    check_image_path(path)
    _, encoded = cv2.imencode(path.suffix, image[..., ::-1], ENCODING[path.suffix])
    write_whole(path, encoded.tobytes())
