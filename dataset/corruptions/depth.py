"""Where the light of a pixel comes from: distance and direction, from the projected point cloud."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

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
    sparse_m, nearest = _project(size, pixel_from_lidar, points)
    depth_m = _fill(sparse_m, _below_edge(points)[nearest])
    distance_m = np.where(depth_m < FAR_M, depth_m * length, FAR_M)
    return np.minimum(distance_m, FAR_M).astype(np.float32), directions / length[..., None]


def _project(
    size: tuple[int, int],
    pixel_from_lidar: Float[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P F"],
) -> tuple[Float32[np.ndarray, "H W"], Int64[np.ndarray, "H W"]]:
    """Return depth and index of the nearest point in each pixel; 0 and -1 where there is none."""
    projected = points[:, :3] @ pixel_from_lidar[:3, :3].T + pixel_from_lidar[:3, 3]
    depth_m = projected[:, 2]
    place = np.floor(projected[:, :2] / np.maximum(depth_m, 0.1)[:, None])
    is_inside = ((place >= 0) & (place < (size[1], size[0]))).all(axis=1) & (depth_m > 0.1)
    seen = np.flatnonzero(is_inside)
    seen = seen[np.argsort(-depth_m[seen])]
    column, row = place[seen].astype(int).T
    sparse_m, nearest = np.zeros(size, np.float32), np.full(size, -1)
    sparse_m[row, column] = depth_m[seen]  # Of several points, the last one stays.
    nearest[row, column] = seen
    return sparse_m, nearest


def _below_edge(points: Float32[np.ndarray, "P F"]) -> Bool[np.ndarray, "P_and_one"]:
    """Return which points are not at the upper edge of the field of view; True for index -1."""
    flat = np.hypot(points[:, 0], points[:, 1])
    elevation = np.rad2deg(np.arctan2(points[:, 2], flat))
    edge = np.quantile(elevation, 0.998) - _EDGE_DEG if len(points) else 0.0
    return np.append(elevation < edge, True)


def _fill(
    sparse_m: Float32[np.ndarray, "H W"], is_below: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W"]:
    """Give each pixel the depth of the nearest pixel with one, or that of the sky.

    Args:
        sparse_m: Known depths; 0 elsewhere.
        is_below: Whether the point of a pixel, if any, is below the edge of the field of view.
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
    height, width = sparse_m.shape
    has_point = is_known.any(axis=0)
    top = np.where(has_point, is_known.argmax(axis=0), height)
    ends_below = is_below[np.minimum(top, height - 1), np.arange(width)]
    is_above = np.arange(height)[:, None] < top
    is_sky = ends_below & is_above & (gap_px > _SKY_GAP * width)
    # Where the sky begins beside a tall wall is a guess, so the border is soft.
    sky = cv2.GaussianBlur(is_sky.astype(np.float32), (0, 0), _SKY_GAP * width)
    sky[is_known] = 0
    return FAR_M**sky * depth_of[owner] ** (1 - sky)
