"""Camera models of ROS: images without distortion, and their camera matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from dataset.calibration import check_camera_matrix

_FISHEYE = ("equidistant", "fisheye")
_COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}
"""Possible numbers of coefficients of a distortion model, by its name."""
_LARGEST_ZOOM = 4.0
"""A new focal length that differs by more is no camera matrix that one would use."""


@dataclass(frozen=True)
class Camera:
    """A camera as it is written.

    Attributes:
        size: Width and height of its images [px]; None: not stated.
        pixel_from_cam: Camera matrix of the undistorted images.
        undistort: Takes the distortion out of an image; None: there is none.
    """

    size: tuple[int, int] | None
    pixel_from_cam: Float64[np.ndarray, "3 3"]
    undistort: Callable[[UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "H W 3"]] | None


def read_camera(
    info: Any,
    where: str,
    *,
    is_rectified: bool,
    stated: Float64[np.ndarray, "3 3"] | None = None,
) -> Camera:
    """Convert a CameraInfo.

    The camera keeps its direction: the rotation R of a stereo pair is not applied. Unless a matrix
    is stated, the new one shows no pixel from outside the recorded image.

    Args:
        info: The decoded message.
        where: Its topic, for errors.
        is_rectified: Whether the images are rectified already; their matrix is then P.
        stated: Camera matrix that the undistorted images should have.

    Raises:
        ValueError: If the distortion model is unknown, or a matrix cannot be used.
    """
    size = (int(info.width), int(info.height))
    if is_rectified:
        matrix = np.array(_field(info, "p"), np.float64).reshape(3, 4)[:, :3]
        check_camera_matrix(where, "P", matrix)
        return Camera(size, matrix if stated is None else stated, None)
    matrix = np.array(_field(info, "k"), np.float64).reshape(3, 3)
    check_camera_matrix(where, "K", matrix)
    coefficients = np.array(_field(info, "d"), np.float64).reshape(-1)
    if not coefficients.any():
        return Camera(size, matrix if stated is None else stated, None)
    model = info.distortion_model
    if len(coefficients) not in _COEFFICIENTS.get(model, ()):
        raise ValueError(
            f"{where}: expected a distortion model of {_COEFFICIENTS} with so many coefficients, "
            f"found '{model}' with {len(coefficients)}. Undistort the images first"
        )
    new = _new_matrix(model, matrix, coefficients, size, where) if stated is None else stated
    if model in _FISHEYE:
        maps = cv2.fisheye.initUndistortRectifyMap(
            matrix, coefficients, np.eye(3), new, size, cv2.CV_16SC2
        )
    else:
        maps = cv2.initUndistortRectifyMap(matrix, coefficients, None, new, size, cv2.CV_16SC2)
    return Camera(size, new, lambda image: cv2.remap(image, *maps, cv2.INTER_LINEAR))


def _new_matrix(
    model: str,
    matrix: Float64[np.ndarray, "3 3"],
    coefficients: Float64[np.ndarray, " n"],
    size: tuple[int, int],
    where: str,
) -> Float64[np.ndarray, "3 3"]:
    """Return the camera matrix with which undistorted images have no empty borders."""
    if model in _FISHEYE:
        new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            matrix, coefficients, size, np.eye(3), balance=0.0
        )
    else:
        new, _ = cv2.getOptimalNewCameraMatrix(matrix, coefficients, size, 0.0)
    zoom = np.diag(new)[:2] / np.diag(matrix)[:2]
    if (
        not np.isfinite(new).all()
        or not ((zoom > 1 / _LARGEST_ZOOM) & (zoom < _LARGEST_ZOOM)).all()
    ):
        raise ValueError(
            f"{where}: expected a distortion that can be taken out at about the same focal length, "
            f"found '{model}' {coefficients.tolist()}, which changes it by {zoom.tolist()}. State "
            "pixel_from_cam of the undistorted images with --calib"
        )
    return np.array(new, np.float64)


def _field(info: Any, name: str) -> Any:
    """Return a field whose name is a capital in ROS 1."""
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
