"""The nuScenes sensor rig of a car: six surround cameras and a spinning LiDAR on the roof.

Ego frame: on the ground below the rear axle, x forward, y left, z up. LiDAR frame: x right, y
forward, z up, tilted by one degree as in the real rig. Camera frame: x right, y down, z forward.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from dataset.minesim.scene.mesh import box, merge
from dataset.nuscenes.index import CAMERAS, LIDAR

REFERENCE_SIZE = (1600, 900)
"""Width and height of the recorded images [px]."""
PRINCIPAL_POINT = (0.51, 0.545)
"""Principal point, as shares of the image width and height."""

BEAMS_DEG = (-30.67, 10.67)
"""Elevation of the lowest and the highest beam."""
NUM_BEAMS = 32
COLUMNS = 1084
"""Azimuth steps of the real sensor per turn."""

_FOV_DEG = 70.0
_BACK_FOV_DEG = 110.0


@dataclass(frozen=True)
class Mount:
    """Pose of a sensor in the ego frame, and when it records.

    Attributes:
        position_m: Position [m].
        yaw_deg: Heading of a camera's axis or of the LiDAR's y axis; left of forward is positive.
        pitch_deg: Elevation of that axis above the horizon.
        delay_us: Recording time relative to the LiDAR time of the same sample [µs].
    """

    position_m: tuple[float, float, float]
    yaw_deg: float
    pitch_deg: float
    delay_us: int = 0


MOUNTS = {
    LIDAR: Mount((0.94, 0.0, 1.84), 0.3, -1.4),
    "CAM_FRONT": Mount((1.37, 0.02, 1.51), 0.3, -0.3, -35_491),
    "CAM_FRONT_LEFT": Mount((1.12, 0.50, 1.51), 55.2, 0.2, -43_107),
    "CAM_FRONT_RIGHT": Mount((1.29, -0.49, 1.49), -56.4, -0.8, -27_612),
    "CAM_BACK": Mount((-0.07, 0.0, 1.58), 179.9, 0.9, -10_426),
    "CAM_BACK_LEFT": Mount((1.03, 0.48, 1.59), 108.6, -0.9, -528),
    "CAM_BACK_RIGHT": Mount((0.83, -0.48, 1.56), -110.8, -0.9, -20_058),
}
"""The rig of a recorded frame, rounded.

The LiDAR time is the end of its turn; each camera records when the beam sweeps past it.
"""


@dataclass(frozen=True)
class RigCamera:
    """One of the six cameras at some image size; all sizes have the same field of view.

    Attributes:
        channel: One of CAMERAS.
        width: Image width [px].
        height: Image height [px].

    Raises:
        ValueError: If the channel is unknown or the image is smaller than 16×16.
    """

    channel: str
    width: int
    height: int

    def __post_init__(self) -> None:
        """Validate the channel and the size."""
        if self.channel not in CAMERAS:
            raise ValueError(f"unknown camera '{self.channel}'; known: {CAMERAS}")
        if min(self.width, self.height) < 16:
            raise ValueError(
                f"an image needs at least 16×16 pixels, got {self.width}×{self.height}"
            )

    @property
    def focal_px(self) -> tuple[float, float]:
        """Focal length along u and v [px]; pixels are square at the reference aspect ratio."""
        fov = np.deg2rad(_BACK_FOV_DEG if self.channel == "CAM_BACK" else _FOV_DEG)
        focal = float(0.5 * self.width / np.tan(0.5 * fov))
        shape = (self.height / REFERENCE_SIZE[1]) / (self.width / REFERENCE_SIZE[0])
        return focal, focal * shape

    @property
    def intrinsic(self) -> Float[np.ndarray, "3 3"]:
        """Camera matrix; pixel centers at integer + 0.5."""
        (focal_u, focal_v), (share_u, share_v) = self.focal_px, PRINCIPAL_POINT
        return np.array(
            [
                [focal_u, 0.0, share_u * self.width],
                [0.0, focal_v, share_v * self.height],
                [0.0, 0.0, 1.0],
            ]
        )

    @property
    def vehicle_from_cam(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the camera in the ego frame."""
        return ego_from_sensor(self.channel)

    @cached_property
    def rays(self) -> Float32[np.ndarray, "3 H W"]:
        """Ray through each pixel center in the camera frame, scaled to z = 1."""
        focal_u, focal_v = self.focal_px
        center_u, center_v = self.intrinsic[:2, 2]
        rays = np.ones((3, self.height, self.width), dtype=np.float32)
        rays[0] = (np.arange(self.width) + 0.5 - center_u) / focal_u
        rays[1] = ((np.arange(self.height) + 0.5 - center_v) / focal_v)[:, None]
        rays.setflags(write=False)
        return rays


def ego_from_sensor(channel: str) -> Float[np.ndarray, "4 4"]:
    """Return the pose of a sensor in the ego frame."""
    mount = MOUNTS[channel]
    yaw, pitch = np.deg2rad([mount.yaw_deg, mount.pitch_deg])
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    up = np.cross(right, forward)
    axes = (right, forward, up) if channel == LIDAR else (right, -up, forward)
    pose = np.eye(4)
    pose[:3, :3] = np.stack(axes, axis=1)
    pose[:3, 3] = mount.position_m
    return pose


def turn(columns: int = COLUMNS) -> tuple[Float32[np.ndarray, "R 3"], Int64[np.ndarray, "R"]]:
    """Return unit directions of one turn's pulses in the LiDAR frame, and the ring of each.

    Ring 0 is the lowest beam. All beams fire at once; the turn is clockwise and ends at the back.

    Args:
        columns: Azimuth steps per turn.
    """
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)[:, None]  # From y to x.
    elevation = np.deg2rad(np.linspace(*BEAMS_DEG, NUM_BEAMS))[None]
    ring = np.tile(np.arange(NUM_BEAMS), columns)
    return directions(azimuth, elevation).reshape(-1, 3).astype(np.float32), ring


def directions(
    azimuth: Float[np.ndarray, "#R #C"], elevation: Float[np.ndarray, "#R #C"]
) -> Float[np.ndarray, "R C 3"]:
    """Return unit directions in the LiDAR frame.

    Args:
        azimuth: Angle from y to x [rad].
        elevation: Angle above the horizon [rad]; broadcast with the azimuth.
    """
    x, y = np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth)
    return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1)


def ego_car() -> tuple[Float32[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Return vertices and faces, in the ego frame, of the car's shadow caster.

    The mesh only casts shadows: no sensor of the rig sees the car.
    """
    black = (0.0, 0.0, 0.0)
    body = box((4.0, 1.7, 0.7), (1.3, 0.0, 0.6), "paint", black)
    cabin = box((2.2, 1.5, 0.55), (0.9, 0.0, 1.2), "paint", black)
    car = merge([body, cabin])
    return car.vertices.astype(np.float32), car.faces.astype(np.int32)
