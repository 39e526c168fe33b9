"""Options that every data set has, checked in one way, and which of its frames are asked for."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from utils.shortlist import shortlist

Item = TypeVar("Item")


def restrict(frames: Sequence[str], stems: Sequence[str] | None, split: str) -> list[str]:
    """The frames of a split that are asked for, or all.

    Args:
        frames: Stems of the split.
        stems: Stems asked for, in their order, each of which counts once; None for all.
        split: Name of the split.

    Raises:
        ValueError: If one is not in the split.
    """
    if stems is None:
        return list(frames)
    unknown = sorted(set(stems) - set(frames))
    if unknown:
        near = get_close_matches(unknown[0], frames, n=3)
        hint = f"near '{unknown[0]}' are {near}" if near else f"it begins with {list(frames[:1])}"
        raise ValueError(
            f"{len(unknown)} of the stems asked for are not in the split '{split}' of "
            f"{len(frames)} frames: {shortlist(unknown)}; {hint}. The split 'all' has every frame "
            "on disk"
        )
    return list(dict.fromkeys(stems))


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` of the items, evenly spread; 0 for all.

    Raises:
        ValueError: If the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"the limit must be at least 1, or 0 for no limit, got {limit}")
    if not limit or len(items) <= limit:
        return list(items)
    return [items[number] for number in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def checked_size(name: str, size: Any) -> tuple[int, int]:
    """The size of a picture, as integers.

    Raises:
        ValueError: If it is not (height, width) > 0.
    """
    if not _are_numbers(size, 2) or min(size) < 1:
        raise ValueError(f"{name} is (height, width) > 0, got {size}")
    return int(size[0]), int(size[1])


def checked_crop(crop: Any) -> tuple[float, float, float, float]:
    """The part of an image that is used, as floats.

    Raises:
        ValueError: If it is not (top, left, bottom, right) within the image.
    """
    message = f"image_crop is (top, left, bottom, right) as fractions in [0, 1], got {crop}"
    if not _are_numbers(crop, 4):
        raise ValueError(message)
    top, left, bottom, right = (float(value) for value in crop)
    if not (0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0):
        raise ValueError(message)
    return top, left, bottom, right


def _are_numbers(values: Any, count: int) -> bool:
    """Whether a value of a config is a sequence of so many numbers."""
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(isinstance(value, int | float) for value in values)
    )


def checked_sweeps(count: int) -> int:
    """How many clouds make one frame.

    Raises:
        ValueError: If it is none.
    """
    if count < 1:
        raise ValueError(f"num_sweeps is at least 1, got {count}")
    return count
