"""Ages of accumulated LiDAR sweeps, and whether they can be that."""

from collections.abc import Sequence
from itertools import pairwise

MAX_GAP_S = 10.0
"""Largest time between two consecutive sweeps; stems or stamps in other units exceed it."""


def sweep_ages_s(times: Sequence[tuple[object, float]]) -> list[float]:
    """Return the age of each sweep at the time of the first.

    Args:
        times: The file that states it, and the time of each sweep [s], latest first.

    Raises:
        ValueError: If consecutive sweeps are not in order, or farther apart than ``MAX_GAP_S``.
    """
    for (_, later_s), (file, earlier_s) in pairwise(times):
        gap_s = later_s - earlier_s
        if not 0 < gap_s <= MAX_GAP_S:
            raise ValueError(
                f"{file}: expected a sweep at most {MAX_GAP_S:g} s before the next one, found "
                f"{gap_s:.6g} s. Times must be in seconds and in order: correct vehicle_infos/ or "
                "the stems, or set dataset.num_sweeps=1"
            )
    return [times[0][1] - time_s for _, time_s in times]
