"""Measurements of an image: how it fits the points seen in it, and what its neighbors look like."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from dataset.check.calibration import FEW, camera_view, in_view

FLIPS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored left to right": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned by 180°": lambda image: image[::-1, ::-1],
}
"""Faults of an image that flipping it again repairs."""
BGR = "in BGR instead of RGB"

_WIDTH = 160
_WINDOW = (61, 3)
"""Width and height of the window whose mean is subtracted, at ``_WIDTH``: it removes the vertical
gradient that any two images of a road share."""
_THUMBNAIL = (24, 15)
_CLIP = 3.0


def thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "15 24 3"]:
    """Return the image at 24×15 pixels, RGB 0–1."""
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def sky_is_blue(small: Float32[np.ndarray, "15 24 3"]) -> float:
    """Return how much bluer the top fifth of a thumbnail is than its lower half: B − R, 0–1."""
    blue = small[..., 2] - small[..., 0]
    return float(blue[:3].mean() - blue[7:].mean())


def view_fits(
    image: UInt8[np.ndarray, "H W 3"],
    cloud: Float32[np.ndarray, "P 4"],
    calibration: Mapping[str, Float64[np.ndarray, "4 4"]],
) -> Float64[np.ndarray, " looks"] | None:
    """Return how well the points explain the colors of the pixels that they fall on.

    Depth, height and intensity of the points predict the color of their pixels by least squares,
    after the mean of each row's surroundings is subtracted from both.

    Args:
        image: The image.
        cloud: The point cloud.
        calibration: Matrices by key.

    Returns:
        R² of the image as it is and after each of ``FLIPS``; None with too few points.
    """
    height, width = image.shape[0], image.shape[1]
    view = camera_view(calibration, (height, width))
    if view is None:
        return None
    is_inside, pixels, depth = in_view(cloud[:, :3], view)
    rows, columns = max(1, round(height * _WIDTH / width)), _WIDTH
    number = pixels[:, 0] * rows // height * columns + pixels[:, 1] * columns // width
    features = _means(cloud[is_inside], depth, number, rows * columns)
    count = np.bincount(number, minlength=rows * columns).reshape(rows, columns)
    weight = (count > 0).astype(np.float32)
    if weight.sum() < 10 * FEW:
        return None
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    color = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    known = _contrast(features.reshape(rows, columns, -1), weight)
    basis, _ = np.linalg.qr(np.hstack([known, known**2 - 1]))
    looks = [color, *(flip(color) for flip in FLIPS.values())]
    return np.array([_explained(basis, _contrast(look, weight)) for look in looks])


def _means(
    points: Float32[np.ndarray, "P 4"],
    depth: Float[np.ndarray, " P"],
    number: Int64[np.ndarray, " P"],
    pixels: int,
) -> Float32[np.ndarray, "pixels 3"]:
    """Return the mean log depth, height and log intensity of the points on each pixel."""
    values = (np.log(depth), points[:, 2], np.log1p(255 * np.maximum(points[:, 3], 0)))
    count = np.maximum(np.bincount(number, minlength=pixels), 1)
    means = [np.bincount(number, value, minlength=pixels) / count for value in values]
    return np.stack(means, axis=1).astype(np.float32)


def _contrast(
    values: Float32[np.ndarray, "rows columns C"], weight: Float32[np.ndarray, "rows columns"]
) -> Float64[np.ndarray, "N C"]:
    """Return the weighted pixels minus the mean around them, in units of their deviation."""
    around = (
        cv2.blur(values * weight[..., None], _WINDOW)
        / np.maximum(cv2.blur(weight, _WINDOW), 1e-6)[..., None]
    )
    rest = (values - around)[weight > 0].astype(np.float64)
    return np.clip(rest / (rest.std(axis=0) + 1e-6), -_CLIP, _CLIP)


def _explained(basis: Float64[np.ndarray, "N K"], values: Float64[np.ndarray, "N C"]) -> float:
    """Return the share of the values' squares that lies in the span of the basis."""
    return float(((basis.T @ values) ** 2).sum() / max((values**2).sum(), 1e-9))
