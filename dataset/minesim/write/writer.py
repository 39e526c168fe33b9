"""Writes frames in the UnScenes3D layout, with the paths of ``dataset/layout.py``."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt16

from dataset import layout
from dataset.layout_files import PNG_OPTIONS, calibration_text, vehicle_text, write_encoded
from dataset.minesim.sensors.rig import Rig
from dataset.occupancy_files import write_array
from utils.whole_files import write_whole

JPEG_QUALITY = 90


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
    calibration = calibration_text(
        rig.camera.p2, rig.cam_from_lidar, imu_from_lidar=rig.vehicle_from_lidar
    )
    write_whole(_path(root, layout.CALIBS, stem), calibration)
    vehicle = vehicle_text(
        stem, recording.world_from_vehicle, recording.velocity_mps, recording.acceleration_mps2
    )
    write_whole(_path(root, layout.VEHICLE_INFOS, stem), vehicle)


def write_labels(root: Path, stem: str, labels: Labels) -> None:
    """Write the occupancy, depth, elevation, local map and caption of a frame below ``root``."""
    write_array(_path(root, layout.OCCUPANCY, stem), labels.occupancy)
    write_encoded(_path(root, layout.DEPTHS, stem), labels.depth, PNG_OPTIONS)
    write_encoded(_path(root, layout.ELEVATION, stem), labels.elevation, PNG_OPTIONS)
    write_whole(_path(root, layout.LOCAL_MAPS, stem), labels.local_map.tobytes())
    write_whole(_path(root, layout.CAPTIONS, stem), labels.caption)


def _path(root: Path, folder: str, stem: str) -> Path:
    return root / layout.relative_path(folder, stem)
