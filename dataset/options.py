"""Validation of the options that every data set has, and selection of its frames."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from utils.shortlist import shortlist

Item = TypeVar("Item")

INPUT_KEYS = (
    "image_size", "image_crop", "num_sweeps", "max_range_m", "frame", "lidar_height_m",
)  # fmt: skip
"""Keys of a config's ``dataset`` section that shape the network's input. The others say how the
files of the data set are read."""


def restrict(frames: Sequence[str], stems: Sequence[str] | None, split: str) -> list[str]:
    """Select the requested frames of a split, or all.

    Args:
        frames: Stems of the split.
        stems: Requested stems, in this order and without duplicates; None for all.
        split: Name of the split.

    Raises:
        ValueError: If a stem is not in the split.
    """
    if stems is None:
        return list(frames)
    unknown = sorted(set(stems) - set(frames))
    if unknown:
        near = get_close_matches(unknown[0], frames, n=3)
        hint = f"similar stems: {near}" if near else f"it begins with {list(frames[:1])}"
        raise ValueError(
            f"{len(unknown)} of the requested stems are not in the split '{split}' of "
            f"{len(frames)} frames: {shortlist(unknown)}; {hint}. The split 'all' has every frame "
            "on disk"
        )
    return list(dict.fromkeys(stems))


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most ``limit`` items, evenly spaced; 0 for all.

    Raises:
        ValueError: If the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"the limit must be at least 1, or 0 for no limit, got {limit}")
    if not limit or len(items) <= limit:
        return list(items)
    return [items[number] for number in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def checked_size(name: str, size: Any) -> tuple[int, int]:
    """Return an image size as integers.

    Raises:
        ValueError: If it is not (height, width) > 0.
    """
    if not _are(int, size, 2) or min(size) < 1:
        raise ValueError(f"{name} must be (height, width) > 0, got {size}")
    return size[0], size[1]


def checked_crop(crop: Any) -> tuple[float, float, float, float]:
    """Return an image crop as floats.

    Raises:
        ValueError: If it is not (top, left, bottom, right) within the image.
    """
    message = f"image_crop must be (top, left, bottom, right) as fractions in [0, 1], got {crop}"
    if not _are(int | float, crop, 4):
        raise ValueError(message)
    top, left, bottom, right = (float(value) for value in crop)
    if not (0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0):
        raise ValueError(message)
    return top, left, bottom, right


def checked_box(name: str, box_m: Any) -> tuple[float, float, float, float, float, float]:
    """Return a box as floats.

    Raises:
        ValueError: If it is not x, y and z, each from and to [m].
    """
    low, high = (box_m[::2], box_m[1::2]) if _are(int | float, box_m, 6) else ((1,), (0,))
    if not all(start <= end for start, end in zip(low, high, strict=True)):
        raise ValueError(f"{name}: expected x, y and z, each from and to in meters, got {box_m}")
    x0, x1, y0, y1, z0, z1 = (float(value) for value in box_m)
    return x0, x1, y0, y1, z0, z1


def _are(kind: Any, values: Any, count: int) -> bool:
    """Return whether a config value is a sequence of ``count`` values of a type."""
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(isinstance(value, kind) for value in values)
    )


def checked_sweeps(count: int) -> int:
    """Return the number of LiDAR sweeps per frame.

    Raises:
        ValueError: If it is less than 1.
    """
    if count < 1:
        raise ValueError(f"num_sweeps must be at least 1, got {count}")
    return count
