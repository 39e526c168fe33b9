"""A car's sensors as nuScenes has them: six cameras all around and a spinning LiDAR on the roof.

Ego frame: on the ground under the rear axle, x forward, y left, z up. LiDAR frame: x right, y
forward, z up, tilted by a degree as the real one is. Camera frame: x right, y down, z forward.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from dataset.minesim.scene.mesh import box, merge
from dataset.nuscenes.index import CAMERAS, LIDAR

REFERENCE_SIZE = (1600, 900)
"""Width and height of the recorded pictures [px]."""
PRINCIPAL_POINT = (0.51, 0.545)
"""Where the cameras' axes meet the picture, as shares of its width and height."""

BEAMS_DEG = (-30.67, 10.67)
"""Elevation of the lowest and the highest of the beams."""
NUM_BEAMS = 32
COLUMNS = 1084
"""Directions that each beam is fired in during a turn of the real sensor."""

_FOV_DEG = 70.0
_BACK_FOV_DEG = 110.0


@dataclass(frozen=True)
class Mount:
    """Where a sensor sits in the ego frame, and when it records.

    Attributes:
        position_m: Its place [m].
        yaw_deg: Where it looks, or where the LiDAR's y axis points: to the left of forward.
        pitch_deg: How far that is above the horizon.
        delay_us: Time of its recording after the LiDAR's of the same sample [µs].
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

The LiDAR's time is the end of its turn; the cameras record when its beam sweeps past them.
"""


@dataclass(frozen=True)
class RigCamera:
    """One of the six cameras at some picture size; its field of view is the same at any size.

    Attributes:
        channel: One of CAMERAS.
        width: Columns of the picture [px].
        height: Rows of the picture [px].

    Raises:
        ValueError: If there is no such camera, or the picture is smaller than 16×16.
    """

    channel: str
    width: int
    height: int

    def __post_init__(self) -> None:
        """Check the name and the size."""
        if self.channel not in CAMERAS:
            raise ValueError(f"no camera is called '{self.channel}'; there are {CAMERAS}")
        if min(self.width, self.height) < 16:
            raise ValueError(
                f"a picture needs at least 16×16 pixels, got {self.width}×{self.height}"
            )

    @property
    def focal_px(self) -> tuple[float, float]:
        """Focal length along u and v [px]; pixels are square at the reference's shape."""
        fov = np.deg2rad(_BACK_FOV_DEG if self.channel == "CAM_BACK" else _FOV_DEG)
        focal = float(0.5 * self.width / np.tan(0.5 * fov))
        shape = (self.height / REFERENCE_SIZE[1]) / (self.width / REFERENCE_SIZE[0])
        return focal, focal * shape

    @property
    def intrinsic(self) -> Float[np.ndarray, "3 3"]:
        """Camera matrix; pixel centres at integer + 0.5."""
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
        """Where the camera sits in the ego frame."""
        return ego_from_sensor(self.channel)

    @cached_property
    def rays(self) -> Float32[np.ndarray, "H W 3"]:
        """Ray of each pixel's centre in the camera frame, one metre deep: z is 1."""
        focal_u, focal_v = self.focal_px
        center_u, center_v = self.intrinsic[:2, 2]
        rays = np.ones((self.height, self.width, 3), dtype=np.float32)
        rays[..., 0] = (np.arange(self.width) + 0.5 - center_u) / focal_u
        rays[..., 1] = ((np.arange(self.height) + 0.5 - center_v) / focal_v)[:, None]
        rays.setflags(write=False)
        return rays


def ego_from_sensor(channel: str) -> Float[np.ndarray, "4 4"]:
    """Pose of a sensor in the ego frame: its axes' directions, and its place."""
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
    """Unit directions of one turn's pulses in the LiDAR frame, and the beam (ring) of each.

    Beam 0 is the lowest. All beams fire at once; the turn goes clockwise and ends at the back.

    Args:
        columns: Directions around that each beam is fired in.
    """
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)[:, None]  # From y to x.
    elevation = np.deg2rad(np.linspace(*BEAMS_DEG, NUM_BEAMS))
    directions = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.cos(elevation) * np.cos(azimuth),
            np.broadcast_to(np.sin(elevation), (columns, NUM_BEAMS)),
        ],
        axis=-1,
    )
    ring = np.tile(np.arange(NUM_BEAMS), columns)
    return directions.reshape(-1, 3).astype(np.float32), ring


def ego_car() -> tuple[Float32[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Vertices and faces, in the ego frame, of what casts the car's shadow.

    Only shadows: no sensor of the rig sees the car itself.
    """
    black = (0.0, 0.0, 0.0)
    body = box((4.0, 1.7, 0.7), (1.3, 0.0, 0.6), "paint", black)
    cabin = box((2.2, 1.5, 0.55), (0.9, 0.0, 1.2), "paint", black)
    car = merge([body, cabin])
    return car.vertices.astype(np.float32), car.faces.astype(np.int32)
