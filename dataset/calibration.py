"""The checks of a calibration's matrices, for KITTI text and for JSON."""

import numpy as np
from jaxtyping import Float64

ROTATION_TOLERANCE = 5e-3
"""Maximum entry of RᵀR − I; above the rounding of matrices printed with three decimals."""
_LARGEST_SKEW = 0.01
"""Maximum skew of a camera matrix, relative to its focal length."""
_LARGEST_RATIO = 10.0
"""Maximum ratio of the focal lengths; they differ if an image was stretched."""


def check_camera_matrix(where: str, name: str, matrix: Float64[np.ndarray, "3 3"]) -> None:
    """Check the left 3×3 of a camera matrix: focal lengths and principal point.

    Args:
        where: The file, for errors.
        name: The key in the file.
        matrix: The matrix.

    Raises:
        ValueError: If it has another form, such as the transpose.
    """
    focal_u, focal_v = matrix[0, 0], matrix[1, 1]
    is_camera = min(focal_u, focal_v) > 0 and np.allclose(matrix[2], [0, 0, 1])
    is_camera &= max(focal_u, focal_v) <= _LARGEST_RATIO * min(focal_u, focal_v)
    if is_camera and max(abs(matrix[0, 1]), abs(matrix[1, 0])) <= _LARGEST_SKEW * focal_u:
        return
    hint = ""
    if not matrix.any():
        hint = " It is all zero: calibrate the camera."
    elif np.allclose(matrix[:, 2], [0, 0, 1]) and matrix[2, :2].any():
        hint = " It looks transposed: write it row by row."
    raise ValueError(
        f"{where}: expected rows f 0 u, 0 f v, 0 0 1 in '{name}', f > 0, found "
        f"{matrix.tolist()}.{hint}"
    )


def check_rigid(where: str, name: str, matrix: Float64[np.ndarray, "4 4"]) -> None:
    """Check that a transform is a rotation and a translation.

    Args:
        where: The file, for errors.
        name: The key in the file.
        matrix: The transform.

    Raises:
        ValueError: If it scales, shears or mirrors, or its last row is not 0 0 0 1.
    """
    rotation = matrix[:3, :3]
    with np.errstate(all="ignore"):  # Huge numbers overflow, and are refused for it.
        error = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
        determinant = float(np.linalg.det(rotation))
    found = ""
    if not error < ROTATION_TOLERANCE:
        found = f"a matrix whose RᵀR differs from the identity by {error:.3g}"
    elif determinant < 0:
        found = f"one that mirrors (determinant {determinant:.3g})"
    elif not np.allclose(matrix[3], [0, 0, 0, 1]):
        found = f"the last row {matrix[3].tolist()}, not 0 0 0 1"
    if found:
        raise ValueError(
            f"{where}: expected a rotation and a translation in '{name}', found {found}. Write "
            "the transform row by row, with at least three decimals."
        )


def split_projection(
    pixel_from_lidar: Float64[np.ndarray, "4 4"],
) -> tuple[Float64[np.ndarray, "3 4"], Float64[np.ndarray, "4 4"]]:
    """Split a projection into camera matrix, f 0 u, 0 f v, 0 0 1, and pose of the camera."""
    p2 = np.zeros((3, 4))
    p2[2, 2] = 1.0
    cam_from_lidar = np.eye(4)
    cam_from_lidar[2] = pixel_from_lidar[2]
    for row in (0, 1):
        center = pixel_from_lidar[row, :3] @ pixel_from_lidar[2, :3]
        rest = pixel_from_lidar[row] - center * pixel_from_lidar[2]
        focal = np.linalg.norm(rest[:3])
        p2[row, row], p2[row, 2] = focal, center
        cam_from_lidar[row] = rest / focal
    return p2, cam_from_lidar
