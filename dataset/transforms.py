"""Crops, resizes, flips and rotations, as pure functions of the parts of a frame.

An image transform moves pixels and multiplies its matrix into pixel_from_lidar. A volume transform
moves points, labels and poses and multiplies in its inverse. Either way, a point projects onto the
same image content before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Shaped, UInt8

from dataset import layout
from dataset.augment.image import augment_image
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from dataset.image_decoding import EncodedImage
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE

_REDUCTIONS = (1, 2, 4, 8)
"""Fractions of its size that a JPEG can be decoded at."""


@dataclass(frozen=True)
class ImageTransform:
    """Crop of the recorded image, then a resize and optionally a horizontal flip.

    Attributes:
        window: First row, first column, end row and end column in the recorded image; parts
            outside the image are black and have no depth.
        size: Height and width of the result.
        flip: Whether to flip horizontally.
        reduction: A JPEG is decoded at this fraction of its size; divides the window.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    flip: bool = False
    reduction: int = 1

    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """Return pixel_from_recorded, which maps (u·d, v·d, d, 1) to the same in the result."""
        top, left, bottom, right = self.window
        height, width = self.size
        scale_u, scale_v = width / (right - left), height / (bottom - top)
        matrix = np.diag([scale_u, scale_v, 1.0, 1.0])
        matrix[:2, 2] = -left * scale_u, -top * scale_v
        if self.flip:
            matrix[0] *= -1.0
            matrix[0, 2] += width
        return matrix

    def decoded(self, encoded: EncodedImage) -> UInt8[np.ndarray, "H W 3"]:
        """Decode an image, a JPEG at a reduced size if that is enough, and transform it."""
        reduction = self.reduction if encoded.is_jpeg else 1
        return self.image(encoded.rgb(reduction), reduction=reduction)

    def image(
        self, recorded: UInt8[np.ndarray, "h w 3"], *, reduction: int = 1
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Transform an image, with area interpolation to shrink and linear to enlarge.

        Args:
            recorded: RGB.
            reduction: Fraction of its recorded size that it was decoded at.
        """
        top, left, bottom, right = (edge // reduction for edge in self.window)
        cropped = _crop(recorded, (top, left, bottom, right))
        height, width = self.size
        shrinks = height <= cropped.shape[0] and width <= cropped.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = cv2.resize(cropped, (width, height), interpolation=method)
        return cv2.flip(resized, 1) if self.flip else resized

    def depth(self, recorded: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "H W"]:
        """Transform a depth map in any unit, with nearest pixels: an average with 0 is no depth."""
        top, left, bottom, right = self.window
        height, width = self.size
        rows = top + _nearest(bottom - top, height)
        columns = left + _nearest(right - left, width)
        if self.flip:
            columns = columns[::-1]
        row_inside = _span(rows, recorded.shape[0])
        column_inside = _span(columns, recorded.shape[1])
        depth = np.zeros(self.size, recorded.dtype)
        found = recorded[rows[row_inside]].take(columns[column_inside], axis=1)
        depth[row_inside, column_inside] = found
        return depth


def image_transform(
    recorded_size: tuple[int, int],
    size: tuple[int, int],
    crop: tuple[float, float, float, float],
    choices: Choices,
) -> ImageTransform:
    """Compute the image transform of one frame.

    Args:
        recorded_size: Height and width of the recorded image.
        size: Height and width of the result.
        crop: Top, left, bottom and right of the used part, as fractions of the recorded image.
        choices: Zoom, shift and flip of the crop.
    """
    starts_ends = []
    for axis in range(2):
        start, end = (crop[axis + 2 * i] * recorded_size[axis] for i in range(2))
        extent = end - start
        center = 0.5 * (start + end) + choices.image_shift[axis] * extent
        half = 0.5 * extent / choices.image_scale
        first = round(center - half)
        starts_ends.append((first, max(round(center + half), first + 1)))
    extents = [end - start for start, end in starts_ends]
    reduction = _reduction(extents, size)
    (top, bottom), (left, right) = (
        (start // reduction * reduction, end // reduction * reduction) for start, end in starts_ends
    )
    return ImageTransform((top, left, bottom, right), size, choices.image_flip, reduction)


def _reduction(extents: Sequence[int], size: tuple[int, int]) -> int:
    """Return the fraction of the recorded size that is enough for a result of this size.

    It is the smallest that leaves the window at least as large as the result along both axes.
    """
    scale = min(extent // pixels for extent, pixels in zip(extents, size, strict=True))
    return max(reduction for reduction in _REDUCTIONS if reduction <= max(scale, 1))


def input_pixels(
    image: UInt8[np.ndarray, "H W 3"], choices: Choices, *, camera: int = 0
) -> UInt8[np.ndarray, "3 H W"]:
    """Convert an image, already cropped and resized, to network input: colors, blur, noise.

    Args:
        image: RGB, 0–255.
        choices: The values drawn for the frame.
        camera: Number of the camera, which has its own noise and patches.
    """
    pixels = jitter_colors(image, choices)
    pixels = augment_image(pixels, choices.image, choices.stream(Stream.IMAGE, camera))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def input_projection(
    pixel_from_lidar: Float64[np.ndarray, "4 4"], choices: Choices, *, camera: int = 0
) -> Float64[np.ndarray, "4 4"]:
    """Convert a projection into an image, already cropped and resized, to network input.

    It then has the camera's error of the calibration, and is from the augmented volume.
    """
    seen = pixel_from_lidar @ choices.calibration_error(camera)
    return seen @ np.linalg.inv(augmented_from_recorded(choices))


def within_range(
    cloud: Float32[np.ndarray, "P F"], max_range_m: float
) -> Float32[np.ndarray, "Q F"]:
    """Keep the points with x below ``max_range_m``."""
    return cloud.compress(cloud[:, 0] < max_range_m, axis=0)  # Ten times as fast as by mask.


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
    """Return the matrix of the volume transform: a flip of y, a rotation about z, then a shift."""
    angle = np.deg2rad(choices.volume_rotation_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.eye(4)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    if choices.volume_flip:
        matrix[:, 1] *= -1.0
    matrix[2, 3] = choices.volume_height_m
    return matrix


def transform_cloud(
    dst_from_src: Float64[np.ndarray, "4 4"], cloud: Float[np.ndarray, "P F"]
) -> Float[np.ndarray, "P F"]:
    """Transform the points of a cloud; further columns and the number type are unchanged."""
    moved = cloud.copy()
    moved[:, :3] = cloud[:, :3] @ dst_from_src[:3, :3].T + dst_from_src[:3, 3]
    return moved


def transform_occupancy(
    dst_from_src: Float64[np.ndarray, "4 4"],
    occupancy: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
) -> UInt8[np.ndarray, "X Y Z"]:
    """Transform labels; the result is in the same grid.

    Each voxel takes the label at the source of its center, so that surfaces get no holes. If the
    source is outside the grid, the voxel is ignored.

    Args:
        dst_from_src: Rotation about z, flips of x or y, and a shift along z.
        occupancy: The labels.
        grid: The grid of the labels.
    """
    x, y, z = grid.shape
    src_from_dst = np.linalg.inv(dst_from_src)
    column = np.zeros((x, y), np.int64)
    inside = np.ones((x, y), bool)
    for axis, count in enumerate((x, y)):
        source_m = _source_on_axis(src_from_dst[axis], grid)
        index = np.floor((source_m - grid.origin_m[axis]) / grid.voxel_m).astype(np.int64)
        inside &= (index >= 0) & (index < count)
        column = column * count + index
    column[~inside] = x * y
    ignored = np.full((1, z), IGNORE, np.uint8)
    columns = np.concatenate([occupancy.reshape(x * y, z), ignored])
    moved = columns.take(column, axis=0)  # (X, Y, Z)
    return _shifted_up(moved, round(dst_from_src[2, 3] / grid.voxel_m))


def _source_on_axis(row: Float64[np.ndarray, " 4"], grid: VoxelGrid) -> Float64[np.ndarray, "X Y"]:
    """Return one coordinate of the source of each column of voxels [m].

    Args:
        row: Row of the transform from the result to the source, which does not depend on z.
        grid: The grid.
    """
    x_m, y_m = (
        grid.origin_m[axis] + (np.arange(grid.shape[axis]) + 0.5) * grid.voxel_m
        for axis in range(2)
    )
    return (row[0] * x_m)[:, None] + (row[1] * y_m) + row[3]


def _shifted_up(labels: UInt8[np.ndarray, "X Y Z"], voxels: int) -> UInt8[np.ndarray, "X Y Z"]:
    """Shift labels by whole voxels along z; voxels from outside the grid are ignored."""
    if voxels == 0:
        return labels
    shifted = np.full_like(labels, IGNORE)
    if voxels > 0:
        shifted[..., voxels:] = labels[..., :-voxels]
    else:
        shifted[..., :voxels] = labels[..., -voxels:]
    return shifted


def transform_elevation(
    dst_from_src: Float64[np.ndarray, "4 4"], elevation_m: Float32[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols"]:
    """Transform an elevation map within its fixed region; NaN where the source is outside.

    Args:
        dst_from_src: Rotation about z, flips of x or y, and a shift along z.
        elevation_m: Heights [m] of the cells of ``layout.elevation_grid``.

    Raises:
        ValueError: If no such grid has the shape of the map.
    """
    grid = layout.elevation_grid((elevation_m.shape[0], elevation_m.shape[1]))
    centers_m = grid.centers_m().double().numpy()
    source = grid.cells_of(_source_of(dst_from_src, centers_m)).astype(int)
    inside = grid.holds(source)
    moved = np.full_like(elevation_m, np.nan)
    moved[inside] = elevation_m[source[inside, 0], source[inside, 1]]
    return moved + np.float32(dst_from_src[2, 3])


def coarsen_occupancy(
    occupancy: UInt8[np.ndarray, "x y z"], factor: int
) -> UInt8[np.ndarray, "X Y Z"]:
    """Downsample labels to voxels ``factor`` times as wide.

    A coarse voxel takes its most frequent label other than free and ignored; ties go to the
    smaller label. Without any such label, it is ignored if more than half of its voxels are, else
    free.

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
    occupied = np.flatnonzero(occupancy != FREE)  # Only a few: labels are surfaces.
    label = occupancy.reshape(-1)[occupied]
    x, y, z = np.unravel_index(occupied, occupancy.shape)
    voxel = np.ravel_multi_index((x // factor, y // factor, z // factor), shape)
    is_ignored = label == IGNORE
    num_ignored = np.bincount(voxel[is_ignored], minlength=flat.size)
    flat[2 * num_ignored > factor**3] = IGNORE
    voxel, label = voxel[~is_ignored], label[~is_ignored]
    is_labeled = np.zeros(flat.size, bool)
    is_labeled[voxel] = True
    rank = np.cumsum(is_labeled) - 1  # Index among the labeled coarse voxels.
    classes = int(label.max(initial=FREE)) + 1
    counts = np.bincount(rank[voxel] * classes + label, minlength=is_labeled.sum() * classes)
    flat[is_labeled] = counts.reshape(-1, classes).argmax(axis=1)
    return coarse


def _source_of(
    dst_from_src: Float64[np.ndarray, "4 4"], points_m: Float[np.ndarray, "*any 2"]
) -> Float[np.ndarray, "*any 2"]:
    """Return the source (x, y) of points under a transform that mixes neither with z."""
    src_from_dst = np.linalg.inv(dst_from_src)
    return points_m @ src_from_dst[:2, :2].T + src_from_dst[:2, 3]


def _nearest(recorded: int, size: int) -> np.ndarray:
    """Return the index of the recorded pixel at the center of each of ``size`` pixels."""
    return np.floor((np.arange(size) + 0.5) * recorded / size).astype(int)


def _span(indices: np.ndarray, end: int) -> slice:
    """Return where monotonic indices are within 0 to ``end``."""
    inside = np.flatnonzero((indices >= 0) & (indices < end))
    return slice(inside[0], inside[-1] + 1) if len(inside) else slice(0)


def _crop(image: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Crop a window of an image, padded with black outside the image."""
    top, left, bottom, right = window
    height, width = image.shape[:2]
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return inside
    cropped = np.zeros((bottom - top, right - left, image.shape[2]), image.dtype)
    row, column = max(-top, 0), max(-left, 0)
    cropped[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return cropped
