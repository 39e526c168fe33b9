"""The index of nuScenes' key frames: which files and poses belong to each, in a few arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from utils.quaternions import rotation_matrix

LIDAR = "LIDAR_TOP"
CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_LEFT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
"""The cameras, in the order of every array of the project."""

LIDAR_SLOT = 0
"""Column of the LiDAR in ``sample_recordings``; the cameras follow."""
NONE = -1
"""Row of what is not there."""


@dataclass(frozen=True)
class KeyFrameIndex:
    """The key frames of one version of nuScenes, and the recordings that they are made of.

    Names and tokens are bytes. C scenes, S samples (key frames) by scene name and time, R
    recordings (files of a sensor), K calibrations of a sensor. A pose is x, y, z [m] and a unit
    quaternion w, x, y, z.

    Attributes:
        scene_name: (C,) such as ``scene-0061``.
        scene_token: (C,).
        sample_token: (S,).
        sample_scene: (S,) int32 row of its scene.
        sample_lidar_token: (S,) token of the LiDAR's record in ``sample_data``.
        sample_recordings: (S, 7) int32 rows: LIDAR_TOP, then CAMERAS.
        recording_file: (R,) path below the data set's root.
        recording_time_us: (R,) int64 [µs].
        recording_size: (R, 2) int32 height and width; 0 for the LiDAR.
        recording_previous: (R,) int32 row of the LiDAR's recording before it, -1 for none; also -1
            for cameras.
        recording_calibration: (R,) int32 row.
        recording_ego: (R, 7) world_from_ego at the time of the recording.
        calibration_pose: (K, 7) ego_from_sensor.
        calibration_intrinsic: (K, 3, 3) of a camera; 0 for the LiDAR.

    Raises:
        ValueError: If the arrays do not fit together.
    """

    scene_name: np.ndarray
    scene_token: np.ndarray
    sample_token: np.ndarray
    sample_scene: np.ndarray
    sample_lidar_token: np.ndarray
    sample_recordings: np.ndarray
    recording_file: np.ndarray
    recording_time_us: np.ndarray
    recording_size: np.ndarray
    recording_previous: np.ndarray
    recording_calibration: np.ndarray
    recording_ego: np.ndarray
    calibration_pose: np.ndarray
    calibration_intrinsic: np.ndarray

    def __post_init__(self) -> None:
        """Check kinds, sizes and rows."""
        sizes: dict[str, int] = {}
        for name, (kind, axes) in _FORMS.items():
            array = getattr(self, name)
            names = axes.split()
            fits = array.dtype.kind == kind and array.ndim == len(names)
            for axis, size in zip(names, array.shape, strict=False):
                fits &= size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
            if not fits:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {axes}")
        for name, axis, least in _ROWS:
            rows = getattr(self, name)
            if rows.size and not (least <= rows.min() and rows.max() < sizes[axis]):
                raise ValueError(f"{name} names rows beyond the {sizes[axis]} that there are")

    def file(self, recording: int) -> str:
        """Path of a recording below the data set's root."""
        return self.recording_file[recording].decode()

    def world_from_ego(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Pose of the vehicle when a recording was made."""
        return pose_matrix(self.recording_ego[recording])

    def ego_from_sensor(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Where the sensor of a recording sits on the vehicle."""
        return pose_matrix(self.calibration_pose[self.recording_calibration[recording]])

    def pixel_from_sensor(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Intrinsic matrix of a camera: maps (x, y, z, 1) to (u·d, v·d, d, 1)."""
        matrix = np.eye(4)
        calibration = self.recording_calibration[recording]
        matrix[:3, :3] = self.calibration_intrinsic[calibration]
        return matrix

    def sweeps(self, sample: int, count: int) -> list[int]:
        """The LiDAR's recording of a sample and those before it, fewer where a scene begins.

        Args:
            sample: Row of the sample.
            count: Length of the list, the sample's own recording, the first, included.
        """
        found = [int(self.sample_recordings[sample, LIDAR_SLOT])]
        while len(found) < count and (before := int(self.recording_previous[found[-1]])) != NONE:
            found.append(before)
        return found


_FORMS = {
    "scene_name": ("S", "C"),
    "scene_token": ("S", "C"),
    "sample_token": ("S", "S"),
    "sample_scene": ("i", "S"),
    "sample_lidar_token": ("S", "S"),
    "sample_recordings": ("i", f"S {1 + len(CAMERAS)}"),
    "recording_file": ("S", "R"),
    "recording_time_us": ("i", "R"),
    "recording_size": ("i", "R 2"),
    "recording_previous": ("i", "R"),
    "recording_calibration": ("i", "R"),
    "recording_ego": ("f", "R 7"),
    "calibration_pose": ("f", "K 7"),
    "calibration_intrinsic": ("f", "K 3 3"),
}
"""Kind of number and axes of each array."""

_ROWS = (
    ("sample_scene", "C", 0),
    ("sample_recordings", "R", 0),
    ("recording_calibration", "K", 0),
    ("recording_previous", "R", NONE),
)
"""Arrays of rows: what they count, and the least that they may say."""


def pose_matrix(pose: Float[np.ndarray, "7"]) -> Float64[np.ndarray, "4 4"]:
    """Matrix of a pose: x, y, z and a quaternion w, x, y, z, which is normalized."""
    matrix = np.eye(4)
    matrix[:3, 3] = pose[:3]
    matrix[:3, :3] = rotation_matrix(pose[3:] / np.linalg.norm(pose[3:]))
    return matrix
