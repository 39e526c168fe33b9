"""Paste rare objects of other frames on free ground, in all parts of a frame alike.

An object keeps its distance and turns about the vertical axis through the camera. The camera then
sees the same side of it, so that its pixels can be moved by a homography; the LiDAR, which is
nearby, sees almost the same.
"""

from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from dataset import layout
from dataset.augment.parts import FrameParts
from dataset.augment.ranges import check_not_negative
from dataset.augment.rare_objects import Placement, RareObject, objects_of, place_object
from dataset.lidar_depth import NEAREST_M, depth_of_points

_OBJECTS = 4
"""Objects of a frame that are tried."""
_TRIES = 6
"""Placements that are tried for an object; the first keeps its azimuth."""
_MIN_POINTS = 5
"""Minimum number of points of an object."""
_BIN_DEG = 0.5
"""Edge of the directions in which an object hides what lies behind it."""
_MARGIN_M = 0.5
"""What is this much nearer than an object hides it."""
_MAX_HIDDEN = 0.1
"""Maximum hidden share of an object's pixels."""
_MAX_HIDDEN_BINS = 0.3
"""Maximum hidden share of its directions; those at its foot have ground in front, too."""
_MIN_COVERED = 0.98
"""Minimum share of an object's pixels that the source image has."""
_CENTER = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
"""Pixel centers are at integer + 0.5; those of OpenCV are at integers."""


@dataclass(frozen=True)
class PasteRanges:
    """Ranges of the pasting; the defaults are the identity.

    Attributes:
        objects: Maximum number of objects in a frame.
        classes: Names of their classes; empty for the long-tail classes that are not ground and
            occur in less than half of the frames.
        turn_deg: Maximum change of an object's azimuth in either direction.

    Raises:
        ValueError: If a value is negative.
    """

    objects: int = 0
    classes: tuple[str, ...] = ()
    turn_deg: float = 25.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_not_negative(self, ("objects", "turn_deg"))


def paste_object(
    parts: FrameParts,
    source: FrameParts,
    label: int,
    turn_deg: float,
    rng: np.random.Generator,
) -> FrameParts | None:
    """Paste one object of another frame.

    Args:
        parts: The frame; needs labels.
        source: A frame with the same parts and the same projection.
        label: Class of the object.
        turn_deg: Maximum change of its azimuth in either direction.
        rng: Draws the object and its place.

    Returns:
        The frame with the object; None if no object has enough points or fits.
    """
    assert parts.occupancy is not None, "pasting needs labels"
    assert source.occupancy is not None, "pasting needs labels"
    for found in islice(objects_of(source.occupancy, label, rng), _OBJECTS):
        own_points = _points_of(source, found)
        if own_points is not None and len(own_points) < _MIN_POINTS:
            continue
        for angle_deg in [0.0, *rng.uniform(-turn_deg, turn_deg, _TRIES - 1)]:
            place = place_object(parts.occupancy, found, parts.viewpoint_m(), angle_deg)
            pasted = None if place is None else _paste_at(parts, source, found, own_points, place)
            if pasted is not None:
                return pasted
    return None


def _paste_at(
    parts: FrameParts,
    source: FrameParts,
    found: RareObject,
    own_points: Float32[np.ndarray, "P F"] | None,
    place: Placement,
) -> FrameParts | None:
    """Paste an object at a place; None if it would be hidden there."""
    assert parts.occupancy is not None, "pasting needs labels"
    occupancy = parts.occupancy.copy()
    occupancy[tuple(place.voxels.T)] = found.label
    changes: dict[str, np.ndarray] = {"occupancy": occupancy}
    pasted = None
    if parts.points is not None and own_points is not None:
        pasted = own_points.copy()
        turn = place.target_from_source
        pasted[:, :3] = own_points[:, :3] @ turn[:3, :3].T + turn[:3, 3]
        is_kept = _visible_beside(parts.points, pasted)
        if is_kept is None:
            return None
        changes["points"] = np.concatenate([parts.points[is_kept], pasted])
    if parts.elevation_m is not None:
        changes["elevation_m"] = _without_elevation(parts.elevation_m, place.voxels)
    if parts.pixel_from_lidar is not None and parts.view_size is not None:
        view = _paste_view(parts, source, found, pasted, place)
        if view is None:
            return None
        changes |= view
    return replace(parts, **changes)


def _points_of(source: FrameParts, found: RareObject) -> Float32[np.ndarray, "P F"] | None:
    """Return the points in the voxels of an object; None if the frame has no points."""
    if source.points is None:
        return None
    grid = layout.LABEL_GRID
    index = np.floor(grid.voxel_from_meters(source.points[:, :3].astype(np.float64))).astype(int)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    is_own = inside.copy()
    is_own[inside] = found.voxels[tuple(index[inside].T)]
    return source.points[is_own]


def _visible_beside(
    points: Float32[np.ndarray, "P F"], pasted: Float32[np.ndarray, "Q F"]
) -> Bool[np.ndarray, " P"] | None:
    """Return which points are not behind pasted ones; None if those would be hidden."""
    shape = (round(360 / _BIN_DEG), round(180 / _BIN_DEG))
    range_m, direction = _directions(pasted, shape)
    nearest = np.full(shape, np.inf)
    np.minimum.at(nearest, direction, range_m)
    is_hit = np.isfinite(nearest)
    # Points are sparse: an object also hides what lies in the directions beside them.
    around = cv2.erode(nearest, np.ones((3, 3), np.uint8))
    range_m, direction = _directions(points, shape)
    in_front = range_m < nearest[direction] - _MARGIN_M
    hidden = np.zeros(shape, bool)
    hidden[tuple(part[in_front & is_hit[direction]] for part in direction)] = True
    if hidden.sum() > _MAX_HIDDEN_BINS * is_hit.sum():
        return None
    return range_m < around[direction]


def _directions(
    points: Float32[np.ndarray, "P F"], shape: tuple[int, int]
) -> tuple[Float32[np.ndarray, " P"], tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]]:
    """Return the range of points from the LiDAR [m], and the bins of their directions."""
    x, y, z = points[:, :3].T
    ground_m = np.hypot(x, y)
    azimuth = np.rad2deg(np.arctan2(y, x)) + 180.0
    elevation = np.rad2deg(np.arctan2(z, ground_m)) + 90.0
    bins = [
        np.minimum((angle / _BIN_DEG).astype(np.int64), count - 1)
        for angle, count in zip((azimuth, elevation), shape, strict=True)
    ]
    return np.hypot(ground_m, z), (bins[0], bins[1])


def _without_elevation(
    elevation_m: Float32[np.ndarray, "rows cols"], voxels: Int64[np.ndarray, "N 3"]
) -> Float32[np.ndarray, "rows cols"]:
    """Return a copy without heights in the columns of an object."""
    grid, cells = layout.LABEL_GRID, layout.elevation_grid(elevation_m.shape)
    covered = np.zeros(grid.shape[:2], bool)
    covered[voxels[:, 0], voxels[:, 1]] = True
    centers_m = cells.centers_m().double().numpy()
    index = np.floor((centers_m - np.array(grid.origin_m[:2])) / grid.voxel_m).astype(int)
    inside = ((index >= 0) & (index < grid.shape[:2])).all(axis=-1)
    index = index.clip(0, np.array(grid.shape[:2]) - 1)
    return np.where(inside & covered[index[..., 0], index[..., 1]], np.float32(np.nan), elevation_m)


def _paste_view(
    parts: FrameParts,
    source: FrameParts,
    found: RareObject,
    pasted: Float32[np.ndarray, "Q F"] | None,
    place: Placement,
) -> dict[str, np.ndarray] | None:
    """Paste an object into image and depth map; None if it is hidden there, or cut off."""
    assert parts.pixel_from_lidar is not None, "a view needs its projection"
    assert parts.view_size is not None, "a view needs its size"
    matrix, size = parts.pixel_from_lidar, parts.view_size
    mask, depth_m = _silhouette(matrix, place.voxels, size)
    before, before_m = _silhouette(matrix, np.argwhere(found.voxels), size)
    for view, hull, nearest_m in ((parts, mask, depth_m), (source, before, before_m)):
        if view.depth_m is not None and _is_hidden(view.depth_m, hull, nearest_m):
            return None
    if not mask.any():
        return {}
    changes: dict[str, np.ndarray] = {}
    if parts.image is not None and source.image is not None:
        homography = np.linalg.inv(_CENTER) @ _homography(matrix, found, place) @ _CENTER
        moved = cv2.warpPerspective(_as_bright(source.image, parts.image), homography, size[::-1])
        covered = cv2.warpPerspective(np.ones(size, np.uint8), homography, size[::-1])
        if covered[mask].mean() < _MIN_COVERED:
            return None
        changes["image"] = np.where(mask[..., None], moved, parts.image)
    if parts.depth_m is not None:
        depth = np.where(mask, np.float32(0.0), parts.depth_m)
        if pasted is not None:
            own = depth_of_points(matrix, pasted, size)
            depth = np.where(own > 0.0, own, depth)
        changes["depth_m"] = depth
    return changes


def _as_bright(
    image: UInt8[np.ndarray, "H W 3"], other: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return an image as bright as another: objects of the day would shine at night."""
    gain = float(other.mean() + 1.0) / float(image.mean() + 1.0)
    return cv2.convertScaleAbs(image, alpha=gain)


def _silhouette(
    matrix: Float64[np.ndarray, "4 4"], voxels: Int64[np.ndarray, "N 3"], size: tuple[int, int]
) -> tuple[Bool[np.ndarray, "H W"], float]:
    """Return the pixels that voxels project to, and the smallest camera depth of them [m]."""
    grid = layout.LABEL_GRID
    columns, first, inverse = np.unique(
        voxels[:, :2], axis=0, return_index=True, return_inverse=True
    )
    low, high = voxels[first, 2].copy(), voxels[first, 2].copy()
    np.minimum.at(low, inverse.ravel(), voxels[:, 2])
    np.maximum.at(high, inverse.ravel(), voxels[:, 2])
    edges = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    xy = np.repeat((columns[:, None] + edges)[:, :, None], 2, axis=2)  # (N, 4, 2, 2)
    z = np.broadcast_to(np.stack([low, high + 1], axis=1)[:, None], (len(columns), 4, 2))
    corners = np.concatenate([xy, z[..., None]], axis=-1).reshape(len(columns), 8, 3)
    projected = grid.meters_from_voxel(corners.astype(np.float64)) @ matrix[:3, :3].T
    projected += matrix[:3, 3]
    depth_m = projected[..., 2]
    mask = np.zeros(size, np.uint8)
    for corner, depth in zip(projected, depth_m, strict=True):
        if depth.min() >= NEAREST_M:
            pixels = np.floor(corner[:, :2] / depth[:, None])
            hull = cv2.convexHull(pixels.clip(-10_000, 10_000).astype(np.int32))
            cv2.fillConvexPoly(mask, hull, 1)
    return mask > 0, float(depth_m.min())


def _is_hidden(
    depth_m: Float32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"], nearest_m: float
) -> bool:
    """Return whether something in front hides pixels of an object."""
    known = depth_m[mask]
    known = known[known > 0.0]
    return bool(len(known)) and bool((known < nearest_m - _MARGIN_M).mean() > _MAX_HIDDEN)


def _homography(
    matrix: Float64[np.ndarray, "4 4"], found: RareObject, place: Placement
) -> Float64[np.ndarray, "3 3"]:
    """Return the map from the pixels of an object to those at its new place.

    It is exact for the rotation, whose axis goes through the camera; the shift along z is that of
    the object's middle.
    """
    middle = layout.LABEL_GRID.meters_from_voxel(np.argwhere(found.voxels) + 0.5).mean(axis=0)
    turn = place.target_from_source
    turned = turn[:3, :3] @ middle + np.append(turn[:2, 3], 0.0)
    pixels = []
    for position in (turned, turned + np.array([0.0, 0.0, turn[2, 3]])):
        projected = matrix[:3, :3] @ position + matrix[:3, 3]
        pixels.append(projected[:2] / projected[2])
    shift = np.eye(3)
    shift[:2, 2] = pixels[1] - pixels[0]
    return shift @ matrix[:3, :3] @ turn[:3, :3] @ np.linalg.inv(matrix[:3, :3])
