"""Writes frames in the UnScenes3D layout: folder and file names by ``dataset/layout.py``."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt16

from dataset import layout
from dataset.minesim.sensors.rig import Camera, cam_from_lidar, vehicle_from_lidar
from utils.quaternions import quaternion_xyzw

JPEG_QUALITY = 90
_PNG_EFFORT = 1
"""Larger values take several times as long and save little on depth pictures."""


@dataclass(frozen=True)
class VehicleRecording:
    """What the vehicle records itself; every frame has it.

    Attributes:
        image: RGB.
        points: x, y, z [m] in the LiDAR frame, and intensity 0–255.
        world_from_vehicle: Pose of the IMU.
        velocity_mps: In the vehicle's frame [m/s].
        acceleration_mps2: In the vehicle's frame [m/s²].
    """

    image: UInt8[np.ndarray, "H W 3"]
    points: Float32[np.ndarray, "N 4"]
    world_from_vehicle: Float[np.ndarray, "4 4"]
    velocity_mps: Float[np.ndarray, "3"]
    acceleration_mps2: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Labels:
    """What labelled frames have besides.

    Attributes:
        occupancy: Rows x_index, y_index, z_index, class.
        depth: Metres times 256; 0 is no label.
        elevation: (1 − z)·256; 0 is no point.
        local_map: Points in the frame's LiDAR frame [m].
        caption: One or two sentences.
    """

    occupancy: Int32[np.ndarray, "V 4"]
    depth: UInt16[np.ndarray, "H W"]
    elevation: UInt16[np.ndarray, "rows cols"]
    local_map: Float32[np.ndarray, "M 3"]
    caption: str


def write_recording(root: Path, stem: str, recording: VehicleRecording, camera: Camera) -> None:
    """Write image, cloud, calibration and vehicle state of a frame below ``root``."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _write_picture(_path(root, layout.IMAGES, stem), recording.image[..., ::-1], quality)
    recording.points.tofile(_path(root, layout.CLOUDS, stem))
    _path(root, layout.CALIBS, stem).write_text(calibration_text(camera), encoding="utf-8")
    vehicle = vehicle_text(
        stem, recording.world_from_vehicle, recording.velocity_mps, recording.acceleration_mps2
    )
    _path(root, layout.VEHICLE_INFOS, stem).write_text(vehicle, encoding="utf-8")


def write_labels(root: Path, stem: str, labels: Labels) -> None:
    """Write occupancy, depth, elevation, local map and caption of a frame below ``root``."""
    effort = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_EFFORT]
    np.save(_path(root, layout.OCCUPANCY, stem), labels.occupancy)
    _write_picture(_path(root, layout.DEPTHS, stem), labels.depth, effort)
    _write_picture(_path(root, layout.ELEVATION, stem), labels.elevation, effort)
    labels.local_map.tofile(_path(root, layout.LOCAL_MAPS, stem))
    _path(root, layout.CAPTIONS, stem).write_text(labels.caption, encoding="utf-8")


def calibration_text(camera: Camera) -> str:
    """KITTI text of the rig's calibration; the same for every frame."""
    matrices = {
        "P2": camera.p2,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": cam_from_lidar()[:3],
        "Tr_velo_to_imu": vehicle_from_lidar()[:3],
    }
    lines = [f"{key}: {_numbers(matrix)}" for key, matrix in matrices.items()]
    return "\n".join(lines) + "\n"


def vehicle_text(
    stem: str,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    velocity_mps: Float[np.ndarray, "3"],
    acceleration_mps2: Float[np.ndarray, "3"],
) -> str:
    """Pose, and velocity with acceleration, a line each; no newline at the end."""
    quaternion = quaternion_xyzw(world_from_vehicle[:3, :3])
    pose = np.concatenate([world_from_vehicle[:3, 3], quaternion])
    motion = np.concatenate([velocity_mps, acceleration_mps2])
    return f"{stem} {_numbers(pose)}\n{stem} {_numbers(motion)}"


def _numbers(values: Float[np.ndarray, "*any"]) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(values))


def _path(root: Path, folder: str, stem: str) -> Path:
    path = root / layout.relative_path(folder, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_picture(path: Path, picture: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), picture, options):
        raise OSError(f"could not write {path}; is the disk full?")
