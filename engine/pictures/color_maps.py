"""Maps of colours: RGB tables of 256 steps, for depths, heights and errors."""

import cv2
import numpy as np
from jaxtyping import UInt8


def _table(number: int) -> UInt8[np.ndarray, "256 3"]:
    """One of OpenCV's maps of colours."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(steps, number)[:, 0, ::-1]


def _diverging() -> UInt8[np.ndarray, "256 3"]:
    ends = np.array([(33, 84, 196), (250, 250, 250), (200, 32, 38)], np.float64)
    place = np.linspace(0, 2, 256)
    channels = [np.interp(place, (0, 1, 2), ends[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


TURBO = _table(cv2.COLORMAP_TURBO)
"""From blue over green to red; the ends are nearly black."""
VIRIDIS = _table(cv2.COLORMAP_VIRIDIS)
"""From violet over green to yellow, evenly brighter."""
BLUE_WHITE_RED = _diverging()
"""For what lies below and above a middle, which is white."""
