"""Checks of a calibration: its rotations are valid, and LiDAR points fall on the image."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from dataset import layout
from dataset.check.findings import FrameReport
from utils.view import Viewpoint

ROTATION_TOLERANCE = 1e-3
"""Maximum entry of RᵀR − I; above the rounding error of calibration files."""
_ROTATIONS = ("R0_rect", "Tr_velo_to_cam", "Tr_velo_to_imu")
FEW = 20
"""With fewer points, shares are not measured."""
_AHEAD_M = 2.0


def check_calibration(
    matrices: Mapping[str, Float64[np.ndarray, "4 4"]] | None,
    cloud: Float32[np.ndarray, "P 4"] | None,
    report: FrameReport,
) -> None:
    """Check the matrices, alone and with the point cloud and image size of the frame.

    Args:
        matrices: Matrices by key of the file; None without a file.
        cloud: Point cloud of the frame, if any.
        report: Report to extend; its image size is used.
    """
    if matrices is None:
        return
    report.imu_or_world_from_lidar = matrices.get("Tr_velo_to_imu")
    for key in _ROTATIONS:
        if key in matrices and not is_rotation(matrices[key][:3, :3]):
            message = f"the left 3×3 of {key} is not a rotation (RᵀR differs from I, or it mirrors)"
            report.error("rotation", layout.CALIBS, message)
    report.pixel_from_lidar = matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"]
    is_sound = check_intrinsics(matrices["P2"], report)
    if is_sound and cloud is not None and report.image_size is not None:
        ahead = cloud[cloud[:, 0] > _AHEAD_M, :3]
        view = camera_view(matrices, report.image_size)
        if len(ahead) >= FEW and view is not None:
            report.measure("points_in_view", float(in_view(ahead, view)[0].mean()))


def check_intrinsics(p2: Float64[np.ndarray, "4 4"], report: FrameReport) -> bool:
    """Return whether ``P2`` is a camera matrix; warn if its principal point is off the image."""
    focal_u, focal_v = p2[0, 0], p2[1, 1]
    if focal_u <= 0 or focal_v <= 0 or not np.allclose(p2[2, :3], [0, 0, 1], atol=1e-6):
        message = (
            f"P2 has focal lengths {focal_u:g} and {focal_v:g} and the third row "
            f"{p2[2].tolist()}, expected positive focal lengths and 0 0 1"
        )
        report.error("intrinsics", layout.CALIBS, message)
        return False
    if report.image_size is not None:
        height, width = report.image_size
        u, v = p2[0, 2], p2[1, 2]
        if not (0 < u < width and 0 < v < height):
            message = (
                f"the principal point ({u:.0f}, {v:.0f}) is outside the image of {width}×{height}; "
                "is P2 for another image size?"
            )
            report.warn("principal_point", layout.CALIBS, message)
    return True


def is_rotation(matrix: Float64[np.ndarray, "3 3"]) -> bool:
    """Return whether a matrix is a rotation: no scaling, shear or mirroring."""
    stretch = np.abs(matrix.T @ matrix - np.eye(3)).max()
    return bool(stretch < ROTATION_TOLERANCE and np.linalg.det(matrix) > 0)


def camera_view(
    matrices: Mapping[str, Float64[np.ndarray, "4 4"]], image_size: tuple[int, int]
) -> Viewpoint | None:
    """Return the view of the recorded image; None if the matrices are singular."""
    matrix = matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"]
    if np.linalg.det(matrix) == 0:
        return None
    height, width = image_size
    return Viewpoint(matrix, width, height)


def in_view(
    points: Float32[np.ndarray, "P 3"], view: Viewpoint
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which points fall on the image, and their pixels (row, column) and depths [m].

    Pixels and depths are those of the points in view only.
    """
    pixels, depth = view.project(points)
    is_inside = ((pixels >= 0) & (pixels < [view.width, view.height])).all(axis=1) & (depth > 0.1)
    return is_inside, np.floor(pixels[is_inside]).astype(np.int64)[:, ::-1], depth[is_inside]
