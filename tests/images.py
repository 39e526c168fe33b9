"""Plain images and where colors are in one."""

import numpy as np

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(color, height=20, width=30):
    return np.full((height, width, 3), color, np.uint8)


def box_of(image, color):
    """Top, left, bottom, right of the pixels of a color."""
    rows, columns = np.nonzero((image == color).all(-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
