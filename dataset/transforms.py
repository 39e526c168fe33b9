"""Crops, resizes, flips and turns, as pure functions of the parts of a frame.

An image transform moves pixels and folds its matrix into pixel_from_lidar; a volume transform moves
points, labels and poses and folds its inverse in, so that a point projects onto the same content
before and after either.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from dataset import layout
from dataset.augmentation import Choices
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE


@dataclass(frozen=True)
class ImageTransform:
    """Cuts a window out of the recorded image, resizes it and may mirror it.

    Attributes:
        window: First row, first column, end row and end column in the recorded image; what lies
            outside of it is black and has no depth.
        size: Height and width of the result.
        flip: Whether it is mirrored left to right.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    flip: bool = False

    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """pixel_from_recorded, which maps (u·d, v·d, d, 1) to the same in the result."""
        top, left, bottom, right = self.window
        height, width = self.size
        scale_u, scale_v = width / (right - left), height / (bottom - top)
        matrix = np.diag([scale_u, scale_v, 1.0, 1.0])
        matrix[:2, 2] = -left * scale_u, -top * scale_v
        if self.flip:
            matrix[0] *= -1.0
            matrix[0, 2] += width
        return matrix

    def image(self, recorded: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """The transformed image: area means where it shrinks, linear where it grows."""
        cut = _cut(recorded, self.window)
        height, width = self.size
        shrinks = height <= cut.shape[0] and width <= cut.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = cv2.resize(cut, (width, height), interpolation=method)
        return cv2.flip(resized, 1) if self.flip else resized

    def depth(self, recorded: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "H W"]:
        """The transformed depth map: nearest pixels, for a mean with 0 is no depth."""
        top, left, bottom, right = self.window
        height, width = self.size
        rows = top + _nearest(bottom - top, height)
        columns = left + _nearest(right - left, width)
        if self.flip:
            columns = columns[::-1]
        row_inside = (rows >= 0) & (rows < recorded.shape[0])
        column_inside = (columns >= 0) & (columns < recorded.shape[1])
        depth = np.zeros(self.size, np.float32)
        depth[np.ix_(row_inside, column_inside)] = recorded[
            np.ix_(rows[row_inside], columns[column_inside])
        ]
        return depth


def image_transform(
    recorded_size: tuple[int, int],
    size: tuple[int, int],
    crop: tuple[float, float, float, float],
    choices: Choices,
) -> ImageTransform:
    """The image transform of one frame.

    Args:
        recorded_size: Height and width of the recorded image.
        size: Height and width of the result.
        crop: Top, left, bottom and right of what is used, as fractions of the recorded image.
        choices: Zoom and shift of the cut-out, and whether it is mirrored.
    """
    starts_ends = []
    for axis in range(2):
        start, end = (crop[axis + 2 * i] * recorded_size[axis] for i in range(2))
        extent = end - start
        middle = 0.5 * (start + end) + choices.image_shift[axis] * extent
        half = 0.5 * extent / choices.image_scale
        first = round(middle - half)
        starts_ends.append((first, max(round(middle + half), first + 1)))
    (top, bottom), (left, right) = starts_ends
    return ImageTransform((top, left, bottom, right), size, choices.image_flip)


def input_pixels(
    recorded: UInt8[np.ndarray, "h w 3"], window: ImageTransform, choices: Choices
) -> UInt8[np.ndarray, "3 H W"]:
    """A recorded image as a network reads it."""
    pixels = jitter_colors(window.image(recorded), choices)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def input_projection(
    recorded: Float64[np.ndarray, "4 4"], window: ImageTransform, choices: Choices
) -> Float64[np.ndarray, "4 4"]:
    """A recorded image's ``pixel_from_lidar`` as a network reads it, volume transform included."""
    return window.matrix() @ recorded @ np.linalg.inv(augmented_from_recorded(choices))


def within_range(
    cloud: Float32[np.ndarray, "P F"], max_range_m: float
) -> Float32[np.ndarray, "Q F"]:
    """The points of a cloud whose x is below ``max_range_m``."""
    return cloud[cloud[:, 0] < max_range_m]


def jitter_colors(
    image: UInt8[np.ndarray, "H W 3"], choices: Choices
) -> UInt8[np.ndarray, "H W 3"]:
    """Change brightness, contrast and saturation."""
    if choices.saturation != 1.0:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, choices.saturation, gray, 1.0 - choices.saturation, 0.0)
    if choices.brightness == choices.contrast == 1.0:
        return image
    mean = float(image.mean())
    levels = (np.arange(256) - mean) * choices.contrast + mean
    table = np.clip(np.rint(levels * choices.brightness), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table)


def augmented_from_recorded(choices: Choices) -> Float64[np.ndarray, "4 4"]:
    """Matrix of the volume transform: first the flip of y, then the turn about z."""
    angle = np.deg2rad(choices.volume_rotation_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.eye(4)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    if choices.volume_flip:
        matrix[:, 1] *= -1.0
    return matrix


def transform_cloud(
    dst_from_src: Float64[np.ndarray, "4 4"], cloud: Float32[np.ndarray, "P F"]
) -> Float32[np.ndarray, "P F"]:
    """Move the points of a cloud; its further columns stay."""
    moved = cloud.copy()
    moved[:, :3] = cloud[:, :3] @ dst_from_src[:3, :3].T + dst_from_src[:3, 3]
    return moved


def transform_occupancy(
    dst_from_src: Float64[np.ndarray, "4 4"],
    occupancy: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
) -> UInt8[np.ndarray, "X Y Z"]:
    """Move labels that lie in ``grid``; the result lies in the same grid.

    Each voxel looks up the one that its centre comes from, so that surfaces keep no holes; where it
    comes from outside the grid it is ignored.

    Args:
        dst_from_src: A turn about z and a flip of x or y: heights must not change.
        occupancy: The labels.
        grid: Where the labels lie.
    """
    x, y, _ = grid.shape
    origin = np.array(grid.origin_m[:2])
    centers_m = origin + (np.moveaxis(np.indices((x, y)), 0, -1) + 0.5) * grid.voxel_m
    source = np.floor((_look_up(dst_from_src, centers_m) - origin) / grid.voxel_m).astype(int)
    inside = ((source >= 0) & (source < (x, y))).all(axis=-1)
    moved = np.full_like(occupancy, IGNORE)
    moved[inside] = occupancy[source[inside, 0], source[inside, 1]]
    return moved


def transform_elevation(
    dst_from_src: Float64[np.ndarray, "4 4"], elevation_m: Float32[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols"]:
    """Move an elevation map, whose region stays where it is; NaN where it comes from outside.

    Args:
        dst_from_src: A turn about z and a flip of x or y: heights must not change.
        elevation_m: Heights [m] at the cells of ``layout.elevation_grid``.

    Raises:
        ValueError: If the map has the shape of no such grid.
    """
    grid = layout.elevation_grid((elevation_m.shape[0], elevation_m.shape[1]))
    centers_m = grid.centers_m().double().numpy()
    source = grid.cells_of(_look_up(dst_from_src, centers_m)).astype(int)
    inside = grid.holds(source)
    moved = np.full_like(elevation_m, np.nan)
    moved[inside] = elevation_m[source[inside, 0], source[inside, 1]]
    return moved


def coarsen_occupancy(
    occupancy: UInt8[np.ndarray, "x y z"], factor: int
) -> UInt8[np.ndarray, "X Y Z"]:
    """Labels in voxels ``factor`` times as wide.

    A coarse voxel takes the most frequent of its labels other than free and ignored, the smaller
    one of equals; without any it is ignored if one of its voxels is, and free otherwise.

    Raises:
        ValueError: If ``factor`` does not divide the shape.
    """
    if factor == 1:
        return occupancy
    if factor < 1 or any(n % factor for n in occupancy.shape):
        raise ValueError(f"{factor} does not divide the shape {occupancy.shape} of the labels")
    shape = tuple(n // factor for n in occupancy.shape)
    coarse = np.zeros(shape, np.uint8)
    flat = coarse.reshape(-1)
    occupied = np.flatnonzero(occupancy)  # Few of them: labels are surfaces.
    label = occupancy.reshape(-1)[occupied]
    x, y, z = np.unravel_index(occupied, occupancy.shape)
    voxel = np.ravel_multi_index((x // factor, y // factor, z // factor), shape)
    is_ignored = label == IGNORE
    flat[voxel[is_ignored]] = IGNORE
    voxel, label = voxel[~is_ignored], label[~is_ignored]
    is_labelled = np.zeros(flat.size, bool)
    is_labelled[voxel] = True
    rank = np.cumsum(is_labelled) - 1  # Place of each labelled coarse voxel among them.
    classes = int(label.max(initial=FREE)) + 1
    counts = np.bincount(rank[voxel] * classes + label, minlength=is_labelled.sum() * classes)
    flat[is_labelled] = counts.reshape(-1, classes).argmax(axis=1)
    return coarse


def _look_up(
    dst_from_src: Float64[np.ndarray, "4 4"], points_m: Float[np.ndarray, "*any 2"]
) -> Float[np.ndarray, "*any 2"]:
    """Where points (x, y) come from under a transform that leaves z alone."""
    src_from_dst = np.linalg.inv(dst_from_src)
    return points_m @ src_from_dst[:2, :2].T + src_from_dst[:2, 3]


def _nearest(recorded: int, size: int) -> np.ndarray:
    """Index of the recorded pixel under the middle of each of ``size`` pixels."""
    return np.floor((np.arange(size) + 0.5) * recorded / size).astype(int)


def _cut(image: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """A window of an image; black where it reaches beyond."""
    top, left, bottom, right = window
    height, width = image.shape[:2]
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return inside
    cut = np.zeros((bottom - top, right - left, image.shape[2]), image.dtype)
    row, column = max(-top, 0), max(-left, 0)
    cut[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return cut
