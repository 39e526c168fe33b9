"""Where the light of a pixel comes from: distance and direction, from the projected point cloud."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

FAR_M = 200.0
"""Distance of the sky, and of what no point tells."""
_SKY_GAP = 1 / 40
"""Above the highest point of a column, a pixel this far from any point is sky [image widths]."""
_EDGE_DEG = 2.0
"""Points this near the upper edge of the LiDAR's field of view may be on something taller."""


def pixel_rays(
    size: tuple[int, int],
    pixel_from_lidar: Float[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P F"],
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W 3"]]:
    """Return the distance [m] of what each pixel shows, and its direction in the LiDAR frame.

    A pixel without a point takes the depth of the nearest pixel with one. It is sky if there is
    none near, and all points of its column are below, and not at the upper edge of the LiDAR's
    field of view.

    Args:
        size: Height and width of the image.
        pixel_from_lidar: Maps (x, y, z, 1) to (u·d, v·d, d, 1), d the camera depth [m].
        points: x, y, z [m], and any other columns.
    """
    height, width = size
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    directions = pixels @ np.linalg.inv(pixel_from_lidar[:3, :3]).T.astype(np.float32)
    length = np.linalg.norm(directions, axis=-1)
    rise = directions[..., 2] / length
    highest = np.quantile(points[:, 2] / np.linalg.norm(points[:, :3], axis=1), 0.998) \
        if len(points) else 1.0  # fmt: skip
    is_open = rise < np.sin(np.arcsin(highest) - np.deg2rad(_EDGE_DEG))
    depth_m = _fill(_sparse_depth_m(size, pixel_from_lidar, points), is_open)
    distance_m = np.where(depth_m < FAR_M, depth_m * length, FAR_M)
    return np.minimum(distance_m, FAR_M).astype(np.float32), directions / length[..., None]


def _sparse_depth_m(
    size: tuple[int, int],
    pixel_from_lidar: Float[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P F"],
) -> Float32[np.ndarray, "H W"]:
    """Return the depth of the nearest point in each pixel; 0 where there is none."""
    projected = points[:, :3] @ pixel_from_lidar[:3, :3].T + pixel_from_lidar[:3, 3]
    projected = projected[projected[:, 2] > 0.1]
    depth_m = projected[:, 2]
    place = np.floor(projected[:, :2] / depth_m[:, None])
    is_inside = ((place >= 0) & (place < (size[1], size[0]))).all(axis=1)
    column, row = place[is_inside].astype(int).T
    depth_m = depth_m[is_inside]
    order = np.argsort(-depth_m)
    sparse = np.zeros(size, np.float32)
    sparse[row[order], column[order]] = depth_m[order]  # Of several, the last one stays.
    return sparse


def _fill(
    sparse_m: Float32[np.ndarray, "H W"], is_open: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W"]:
    """Give each pixel the depth of the nearest pixel with one, or that of the sky.

    Args:
        sparse_m: Known depths; 0 elsewhere.
        is_open: Pixels well inside the field of view: with sky above them if no point is.
    """
    is_known = sparse_m > 0
    if not is_known.any():
        return np.full_like(sparse_m, FAR_M)
    empty = (~is_known).astype(np.uint8)
    gap_px, owner = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    depth_of = np.zeros(int(owner.max()) + 1, np.float32)
    depth_of[owner[is_known]] = sparse_m[is_known]
    has_point, top = is_known.any(axis=0), is_known.argmax(axis=0)
    ends = ~has_point | np.take_along_axis(is_open, top[None], axis=0)[0]
    is_above = (np.arange(len(sparse_m))[:, None] < top) | ~has_point
    is_sky = ends & is_above & (gap_px > _SKY_GAP * sparse_m.shape[1])
    return np.where(is_sky, np.float32(FAR_M), depth_of[owner])
