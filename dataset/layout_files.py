"""Writes the text and image files of the UnScenes3D layout."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from utils.quaternions import quaternion_xyzw
from utils.whole_files import write_whole

PNG_OPTIONS = [
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
    *(cv2.IMWRITE_PNG_COMPRESSION, 6),
]
"""Depth images have long runs of equal pixels, which filters break up: without, they are smaller
and twice as fast to read."""


def calibration_text(
    p2: Float[np.ndarray, "3 4"],
    cam_from_lidar: Float[np.ndarray, "4 4"],
    *,
    imu_from_lidar: Float[np.ndarray, "4 4"],
) -> str:
    """Format the calibration of a frame as KITTI text.

    Args:
        p2: Camera matrix, pixel centers at integer + 0.5.
        cam_from_lidar: Pose of the camera.
        imu_from_lidar: Pose of the IMU.
    """
    matrices = {
        "P2": p2,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": cam_from_lidar[:3],
        "Tr_velo_to_imu": imu_from_lidar[:3],
    }
    lines = [f"{key}: {_numbers(matrix)}" for key, matrix in matrices.items()]
    return "\n".join(lines) + "\n"


def vehicle_text(
    stem: str,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    velocity_mps: Float[np.ndarray, "3"],
    acceleration_mps2: Float[np.ndarray, "3"],
) -> str:
    """Format the pose, and the velocity with acceleration, on one line each."""
    quaternion = quaternion_xyzw(world_from_vehicle[:3, :3])
    pose = np.concatenate([world_from_vehicle[:3, 3], quaternion])
    motion = np.concatenate([velocity_mps, acceleration_mps2])
    return f"{stem} {_numbers(pose)}\n{stem} {_numbers(motion)}"


def write_encoded(path: Path, image: np.ndarray, options: list[int]) -> None:
    """Write a BGR or gray image in the format of the path's suffix, with OpenCV's options."""
    _, encoded = cv2.imencode(path.suffix, image, options)
    write_whole(path, encoded.tobytes())


def _numbers(values: Float[np.ndarray, "*any"]) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(values))
