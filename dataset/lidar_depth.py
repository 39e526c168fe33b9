"""Depth maps from LiDAR points."""

import numpy as np
from jaxtyping import Float32, Float64

NEAREST_M = 0.1
"""Points closer to the camera than this, or behind it, are dropped."""


def depth_of_points(
    pixel_from_points: Float64[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P _"],
    size: tuple[int, int],
) -> Float32[np.ndarray, "H W"]:
    """Project points into an image; each pixel takes the depth of its nearest point.

    Args:
        pixel_from_points: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1), d the camera depth [m].
        points: The points; columns after x, y, z are ignored.
        size: Height and width of the image.

    Returns:
        Camera depth [m]; 0 where no point falls.
    """
    height, width = size
    projected = points[:, :3] @ pixel_from_points[:3, :3].T + pixel_from_points[:3, 3]
    projected = projected[projected[:, 2] >= NEAREST_M]
    depth_m = projected[:, 2]
    column, row = np.floor(projected[:, :2] / depth_m[:, None]).T
    is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = (row * width + column)[is_inside].astype(np.int64)
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, pixel, depth_m[is_inside])
    nearest[np.isinf(nearest)] = 0.0
    return nearest.reshape(height, width).astype(np.float32)
