"""Checks of a calibration: the camera is plausible, and LiDAR points fall on the image."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from dataset import layout
from dataset.check.findings import FrameReport
from dataset.registration import camera_problems, frame_shares
from utils.view import Viewpoint

FEW = 20
"""With fewer points, shares are not measured."""
_AHEAD_M = 2.0


def check_calibration(
    matrices: Mapping[str, Float64[np.ndarray, "4 4"]] | None,
    cloud: Float32[np.ndarray, "P 4"] | None,
    report: FrameReport,
) -> None:
    """Check the matrices with the point cloud and image size of the frame.

    Args:
        matrices: Matrices by key of the file, whose form the reader has checked; None without a
            file.
        cloud: Point cloud of the frame, if any.
        report: Report to extend; its image size is used.
    """
    if matrices is None:
        return
    report.imu_or_world_from_lidar = matrices.get("Tr_velo_to_imu")
    report.pixel_from_lidar = matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"]
    if report.image_size is None:
        return
    view = camera_view(matrices, report.image_size)
    if view is None:
        return
    problems = camera_problems([view.pixel_from_lidar], report.image_size, layout.LABEL_GRID)
    for cause, problem in problems.items():
        report.warn(cause, layout.CALIBS, problem)
    shares = frame_shares([view.pixel_from_lidar], report.image_size, None, layout.LABEL_GRID)
    report.measure("grid_in_view", shares["grid_in_images"])
    if cloud is not None:
        ahead = cloud[cloud[:, 0] > _AHEAD_M, :3]
        if len(ahead) >= FEW:
            report.measure("points_in_view", float(in_view(ahead, view)[0].mean()))


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
