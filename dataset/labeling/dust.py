"""Points on dust, snow or rain in the air: nearly all rays of the same cloud pass by them.

Each point is compared with the other points in its direction, within a window that is as wide
as a small object at its range. On a surface, a good part of them are about as far away. A
direction may have few points, as against the sky. A typical number is then taken in their place.
"""

import numpy as np
from jaxtyping import Bool, Float32

_WINDOW_M = 0.6
"""Least width of the window at the range of the point; it is a power of two in degrees."""
_POWERS = 5
_NEAR_SHARE, _NEAR_M = 0.05, 0.3
"""Points are about as far away up to this share of the range, or this distance."""
_FEWEST = 20
"""Points that the window needs; fewer do not tell."""


def is_dust(points: Float32[np.ndarray, "P 3"], share: float) -> Bool[np.ndarray, " P"]:
    """Return the points that few others of the cloud are near.

    Args:
        points: A whole cloud, LiDAR frame [m].
        share: Largest share of the points of the window that are about as far away as dust, itself
            included.
    """
    range_m = np.linalg.norm(points, axis=1)
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0])) + 180
    elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))) + 90
    width_deg = np.degrees(_WINDOW_M / np.maximum(range_m, 0.1))
    power_of = np.clip(np.floor(np.log2(width_deg)), 0, _POWERS - 1).astype(int)
    reach = np.maximum(_NEAR_SHARE * range_m, _NEAR_M)
    found = np.zeros(len(points), bool)
    for power in np.unique(power_of).tolist():
        edge = 1 << power
        row, column = (np.floor(angle / edge).astype(np.int64) for angle in (elevation, azimuth))
        window = row * (360 // edge + 1) + column
        count = np.bincount(window)
        of_power = np.flatnonzero(power_of == power)
        # Windows follow each other in one sorted list, far apart, and ranges within them.
        apart = 2 * float(range_m.max() + reach.max())
        place = window * apart + range_m
        ordered = np.sort(place)
        low = np.searchsorted(ordered, (place - reach)[of_power])
        high = np.searchsorted(ordered, (place + reach)[of_power], side="right")
        of_window = np.maximum(count[window[of_power]], np.median(count[count > 0]))
        found[of_power] = (high - low <= share * of_window) & (of_window >= _FEWEST)
    return found
