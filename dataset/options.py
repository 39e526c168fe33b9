"""Options that every data set has, checked in one way."""

from collections.abc import Sequence


def restrict(frames: Sequence[str], stems: Sequence[str] | None, split: str) -> list[str]:
    """The frames of a split that are asked for, or all.

    Args:
        frames: Stems of the split.
        stems: Stems asked for, in their order; None for all.
        split: Name of the split.

    Raises:
        ValueError: If one is not in the split.
    """
    if stems is None:
        return list(frames)
    unknown = sorted(set(stems) - set(frames))
    if unknown:
        raise ValueError(
            f"{len(unknown)} of the stems asked for are not in the split '{split}' of "
            f"{len(frames)} frames, such as {unknown[:3]}. The split 'all' has every frame on disk"
        )
    return list(stems)


def checked_size(name: str, size: Sequence[int]) -> tuple[int, int]:
    """The size of a picture, as integers.

    Raises:
        ValueError: If it is not (height, width) > 0.
    """
    height, width = (int(value) for value in size)
    if min(height, width) < 1:
        raise ValueError(f"{name} is (height, width) > 0, got {tuple(size)}")
    return height, width


def checked_crop(crop: Sequence[float]) -> tuple[float, float, float, float]:
    """The part of an image that is used, as floats.

    Raises:
        ValueError: If it is not (top, left, bottom, right) within the image.
    """
    top, left, bottom, right = (float(value) for value in crop)
    if not (0.0 <= top < bottom <= 1.0 and 0.0 <= left < right <= 1.0):
        raise ValueError(
            f"image_crop is (top, left, bottom, right) as fractions in [0, 1], got {tuple(crop)}"
        )
    return top, left, bottom, right


def checked_sweeps(count: int) -> int:
    """How many clouds make one frame.

    Raises:
        ValueError: If it is none.
    """
    if count < 1:
        raise ValueError(f"num_sweeps is at least 1, got {count}")
    return count
