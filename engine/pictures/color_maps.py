"""Color map of depths and heights, as an RGB table of 256 steps."""

import cv2
import numpy as np

TURBO = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
"""Blue through green to red; both ends are nearly black."""
