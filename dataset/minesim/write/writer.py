"""Writes frames in the UnScenes3D layout, with the paths of ``dataset/layout.py``."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt16

from dataset import layout
from dataset.minesim.sensors.rig import Rig
from dataset.occupancy_files import write_array
from utils.quaternions import quaternion_xyzw
from utils.whole_files import write_whole

JPEG_QUALITY = 90
_PNG_OPTIONS = [
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
    *(cv2.IMWRITE_PNG_COMPRESSION, 6),
]
"""Depth images have long runs of equal pixels, which filters break up: without, they are smaller
and twice as fast to read."""


@dataclass(frozen=True)
class VehicleRecording:
    """Sensor data of a frame.

    Attributes:
        image: RGB image.
        points: x, y, z [m] in the LiDAR frame, and intensity 0–255.
        world_from_vehicle: Pose of the IMU.
        velocity_mps: Velocity in the vehicle frame [m/s].
        acceleration_mps2: Acceleration in the vehicle frame [m/s²].
    """

    image: UInt8[np.ndarray, "H W 3"]
    points: Float32[np.ndarray, "N 4"]
    world_from_vehicle: Float[np.ndarray, "4 4"]
    velocity_mps: Float[np.ndarray, "3"]
    acceleration_mps2: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Labels:
    """Labels of a frame.

    Attributes:
        occupancy: Rows x_index, y_index, z_index, class.
        depth: Depth [m] times 256; 0 means no label.
        elevation: (1 − z)·256; 0 means no point.
        local_map: Points in the LiDAR frame [m].
        caption: One or two sentences.
    """

    occupancy: Int32[np.ndarray, "V 4"]
    depth: UInt16[np.ndarray, "H W"]
    elevation: UInt16[np.ndarray, "rows cols"]
    local_map: Float32[np.ndarray, "M 3"]
    caption: str


def write_recording(root: Path, stem: str, recording: VehicleRecording, rig: Rig) -> None:
    """Write the image, points, calibration and vehicle state of a frame below ``root``."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    write_encoded(_path(root, layout.IMAGES, stem), recording.image[..., ::-1], quality)
    write_whole(_path(root, layout.CLOUDS, stem), recording.points.tobytes())
    write_whole(_path(root, layout.CALIBS, stem), calibration_text(rig))
    vehicle = vehicle_text(
        stem, recording.world_from_vehicle, recording.velocity_mps, recording.acceleration_mps2
    )
    write_whole(_path(root, layout.VEHICLE_INFOS, stem), vehicle)


def write_labels(root: Path, stem: str, labels: Labels) -> None:
    """Write the occupancy, depth, elevation, local map and caption of a frame below ``root``."""
    write_array(_path(root, layout.OCCUPANCY, stem), labels.occupancy)
    write_encoded(_path(root, layout.DEPTHS, stem), labels.depth, _PNG_OPTIONS)
    write_encoded(_path(root, layout.ELEVATION, stem), labels.elevation, _PNG_OPTIONS)
    write_whole(_path(root, layout.LOCAL_MAPS, stem), labels.local_map.tobytes())
    write_whole(_path(root, layout.CAPTIONS, stem), labels.caption)


def calibration_text(rig: Rig) -> str:
    """Format the calibration as KITTI text; it is the same for every frame of a scene."""
    matrices = {
        "P2": rig.camera.p2,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": rig.cam_from_lidar[:3],
        "Tr_velo_to_imu": rig.vehicle_from_lidar[:3],
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


def _numbers(values: Float[np.ndarray, "*any"]) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(values))


def _path(root: Path, folder: str, stem: str) -> Path:
    return root / layout.relative_path(folder, stem)


def write_encoded(path: Path, image: np.ndarray, options: list[int]) -> None:
    """Write a BGR or gray image in the format of the path's suffix, with OpenCV's options."""
    _, encoded = cv2.imencode(path.suffix, image, options)
    write_whole(path, encoded.tobytes())
