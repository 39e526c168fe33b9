"""Matches the clouds of a bag with the images that are closest in time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataset.rosbag.bag import NANOSECONDS

USUAL_TOLERANCE_NS = NANOSECONDS // 20
"""For a single cloud, which has no period: half of that of a LiDAR at 10 Hz."""

Stamps = Int64[np.ndarray, "_"]


@dataclass(frozen=True)
class Frame:
    """A cloud and its images.

    Attributes:
        stamp_ns: Stamp of the cloud.
        images: Stamp of the image of each camera, by its name.
    """

    stamp_ns: int
    images: Mapping[str, int]

    @property
    def stem(self) -> str:
        """The stamp in seconds, with all digits."""
        return f"{self.stamp_ns // NANOSECONDS}.{self.stamp_ns % NANOSECONDS:09d}"


def usual_tolerance_ns(clouds_ns: Stamps) -> int:
    """Return half the median period of the clouds."""
    if len(clouds_ns) < 2:
        return USUAL_TOLERANCE_NS
    return int(np.median(np.diff(clouds_ns))) // 2


def match_frames(
    clouds_ns: Stamps, images_ns: Mapping[str, Stamps], tolerance_ns: int
) -> tuple[list[Frame], Counter[str]]:
    """Give each cloud the nearest image of each camera; an image is used once.

    Args:
        clouds_ns: Stamps of the clouds, increasing.
        images_ns: Stamps of the images of each camera, increasing.
        tolerance_ns: Images farther away than this do not match.

    Returns:
        The clouds that have an image of each camera, in time order, and how many clouds and images
        were left out, by reason.
    """
    left_out: Counter[str] = Counter()
    tolerance = f"{tolerance_ns / 1e6:.4g} ms"
    nearest = {
        name: _nearest(clouds_ns, stamps, tolerance_ns) for name, stamps in images_ns.items()
    }
    for name, found in nearest.items():
        left_out[f"clouds without an image of '{name}' within {tolerance}"] += int(
            (found < 0).sum()
        )
    is_complete = np.ones(len(clouds_ns), bool)
    for found in nearest.values():
        is_complete &= found >= 0
    frames = [
        Frame(
            int(clouds_ns[index]),
            {name: int(images_ns[name][found[index]]) for name, found in nearest.items()},
        )
        for index in np.flatnonzero(is_complete)
    ]
    for name, stamps in images_ns.items():
        left_out[f"images of '{name}' without a complete frame"] += len(stamps) - len(frames)
    return frames, +left_out


def _nearest(clouds_ns: Stamps, images_ns: Stamps, tolerance_ns: int) -> Stamps:
    """Return the index of each cloud's image; -1 without one."""
    if not len(images_ns):
        return np.full(len(clouds_ns), -1)
    after = np.clip(np.searchsorted(images_ns, clouds_ns), 0, len(images_ns) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(images_ns[before] - clouds_ns) <= np.abs(images_ns[after] - clouds_ns)
    index = np.where(is_before, before, after)
    distance = np.abs(images_ns[index] - clouds_ns)
    # Of two clouds that are nearest to the same image, the closer one gets it.
    order = np.lexsort((distance, index))
    is_closest = np.zeros(len(index), bool)
    is_closest[order[np.append(True, np.diff(index[order]) > 0)]] = True
    return np.where(is_closest & (distance <= tolerance_ns), index, -1)


def stamps_of(frames: Sequence[Frame]) -> Stamps:
    """Return the stamps of frames [ns]."""
    return np.array([frame.stamp_ns for frame in frames], np.int64)
