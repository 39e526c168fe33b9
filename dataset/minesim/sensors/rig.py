"""Sensor poses on the ego truck, and the camera intrinsics.

Vehicle frame: on the ground below the LiDAR, x forward, y left, z up; it is also the IMU frame.
LiDAR frame: the same axes, at the height of the LiDAR. Camera frame: x right, y down, z forward.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int

from dataset.minesim.sensors.lidar_models import LIVOX_HAP, LidarModel

CAMERA_POSITION_M = (-1.0, 0.0, 5.3)
"""Camera in the vehicle frame: on the cab, one meter behind the LiDAR on the bumper."""
CAMERA_PITCH_DEG = 5.24
"""Downward; puts the horizon at 37 % of the image height."""

REFERENCE_SIZE = (1920, 1200)
REFERENCE_FOCAL_PX = 1700.0
"""Focal length of an image of ``REFERENCE_SIZE``: 58.9° × 38.9°."""


def vehicle_from_lidar(height_m: float = LIVOX_HAP.height_m[0]) -> Float[np.ndarray, "4 4"]:
    """Return the pose of the LiDAR on the vehicle."""
    pose = np.eye(4)
    pose[2, 3] = height_m
    return pose


@dataclass(frozen=True)
class Camera:
    """The front camera at some image size; all sizes have the same field of view.

    Attributes:
        width: Image width [px].
        height: Image height [px].
        reference_focal_px: Focal length of an image of ``REFERENCE_SIZE``.
        position_m: Position in the vehicle frame.
        yaw_deg: Heading of the axis, left of forward.
        pitch_deg: Depression of the axis below the horizon.
        roll_deg: Turn about the axis, clockwise as seen in the direction of view.

    Raises:
        ValueError: If the image is smaller than 16×16.
    """

    width: int
    height: int
    reference_focal_px: float = REFERENCE_FOCAL_PX
    position_m: tuple[float, float, float] = CAMERA_POSITION_M
    yaw_deg: float = 0.0
    pitch_deg: float = CAMERA_PITCH_DEG
    roll_deg: float = 0.0

    def __post_init__(self) -> None:
        """Reject sizes too small for any label."""
        if min(self.width, self.height) < 16:
            raise ValueError(
                f"an image needs at least 16×16 pixels, got {self.width}×{self.height}"
            )

    @property
    def focal_px(self) -> tuple[float, float]:
        """Focal length along u and v [px]."""
        scale_u, scale_v = self.width / REFERENCE_SIZE[0], self.height / REFERENCE_SIZE[1]
        return self.reference_focal_px * scale_u, self.reference_focal_px * scale_v

    @property
    def vehicle_from_cam(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the camera on the vehicle; the same at any size."""
        yaw, pitch, roll = np.deg2rad([self.yaw_deg, self.pitch_deg, self.roll_deg])
        flat = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        forward = np.cos(pitch) * flat - [0.0, 0.0, np.sin(pitch)]
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(forward, right)
        turned = np.cos(roll) * right + np.sin(roll) * down
        pose = np.eye(4)
        pose[:3, :3] = np.stack([turned, np.cross(forward, turned), forward], axis=1)
        pose[:3, 3] = self.position_m
        return pose

    @property
    def p2(self) -> Float[np.ndarray, "3 4"]:
        """``P2``: pixel from (rectified) camera frame; pixel centers at integer + 0.5."""
        focal_u, focal_v = self.focal_px
        return np.array(
            [
                [focal_u, 0.0, self.width / 2, 0.0],
                [0.0, focal_v, self.height / 2, 0.0],
                [0.0, 0.0, 1.0, 0.0],
            ]
        )

    @cached_property
    def rays(self) -> Float32[np.ndarray, "3 H W"]:
        """Ray through each pixel center in the camera frame, scaled to z = 1."""
        focal_u, focal_v = self.focal_px
        rays = np.ones((3, self.height, self.width), dtype=np.float32)
        rays[0] = (np.arange(self.width) + 0.5 - self.width / 2) / focal_u
        rays[1] = ((np.arange(self.height) + 0.5 - self.height / 2) / focal_v)[:, None]
        rays.setflags(write=False)
        return rays


@dataclass(frozen=True)
class Rig:
    """The sensors of the ego truck: a front camera and a LiDAR.

    Attributes:
        camera: The camera.
        lidar: The LiDAR.
        lidar_height_m: Height of the LiDAR above the ground [m].
    """

    camera: Camera
    lidar: LidarModel = LIVOX_HAP
    lidar_height_m: float = LIVOX_HAP.height_m[0]

    @property
    def vehicle_from_lidar(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the LiDAR on the vehicle; ``Tr_velo_to_imu`` of every frame of a scene."""
        return vehicle_from_lidar(self.lidar_height_m)

    @property
    def cam_from_lidar(self) -> Float[np.ndarray, "4 4"]:
        """Camera from LiDAR; ``Tr_velo_to_cam`` of every frame of a scene."""
        return np.linalg.inv(self.camera.vehicle_from_cam) @ self.vehicle_from_lidar

    @property
    def pixel_from_lidar(self) -> Float[np.ndarray, "4 4"]:
        """Map (x, y, z, 1) in the LiDAR frame to (u·d, v·d, d, 1), with d the depth [m]."""
        intrinsics = np.eye(4)
        intrinsics[:3] = self.camera.p2
        return intrinsics @ self.cam_from_lidar


def ego_truck() -> tuple[Float32[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Return vertices and faces, in the vehicle frame, of the ego truck's shadow caster.

    The mesh only casts shadows: camera and LiDAR look over the truck and never see it.
    """
    solids = [  # Lower and upper corners [m]: chassis, cab and deck, dump body, canopy, mirrors.
        ((-9.0, -2.6, 0.9), (-0.6, 2.6, 2.4)),
        ((-3.0, -3.0, 2.4), (-0.4, 3.0, 3.6)),
        ((-9.6, -3.1, 2.6), (-3.2, 3.1, 6.0)),
        ((-4.4, -3.1, 6.0), (-0.9, 3.1, 6.6)),
        ((-2.6, 0.2, 3.6), (-1.2, 2.4, 6.0)),
        ((-0.8, 3.2, 3.4), (-0.7, 3.7, 4.5)),
        ((-0.8, -3.7, 3.4), (-0.7, -3.2, 4.5)),
    ]
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    box_faces = np.array(
        [
            [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
            [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
        ]
    )  # fmt: skip
    vertices = [np.where(corners, upper, lower) for lower, upper in solids]
    faces = [box_faces + 8 * index for index in range(len(solids))]
    return np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32)
