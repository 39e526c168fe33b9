"""The index of nuScenes key frames: the files and poses of each, in a few arrays."""

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
"""The cameras, in the order of all arrays."""

LIDAR_SLOT = 0
"""Column of the LiDAR in ``sample_recordings``; the cameras follow."""
NONE = -1
"""Row of a missing entry."""


@dataclass(frozen=True)
class KeyFrameIndex:
    """The key frames of one version of nuScenes and their recordings.

    Names and tokens are bytes. Shapes: C scenes, S samples (key frames) in order of scene name and
    time, R recordings (sensor files), K sensor calibrations. A pose is x, y, z [m] and a unit
    quaternion w, x, y, z.

    Attributes:
        scene_name: (C,) such as ``scene-0061``.
        scene_token: (C,).
        sample_token: (S,).
        sample_scene: (S,) int32 row of the scene.
        sample_lidar_token: (S,) token of the LiDAR's record in ``sample_data``.
        sample_recordings: (S, 7) int32 rows: LIDAR_TOP, then CAMERAS.
        recording_file: (R,) path, relative to the data set.
        recording_time_us: (R,) int64 [µs].
        recording_size: (R, 2) int32 height and width; 0 for the LiDAR.
        recording_previous: (R,) int32 row of the previous LiDAR recording; -1 for none and for
            cameras.
        recording_calibration: (R,) int32 row.
        recording_ego: (R, 7) world_from_ego at the time of the recording.
        calibration_pose: (K, 7) ego_from_sensor.
        calibration_intrinsic: (K, 3, 3) of a camera; 0 for the LiDAR.

    Raises:
        ValueError: If the arrays are inconsistent.
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
        """Validate types, shapes and rows."""
        sizes: dict[str, int] = {}
        for name, (kind, axes) in _FORMS.items():
            array = getattr(self, name)
            names = axes.split()
            fits = array.dtype.kind == kind and array.ndim == len(names)
            for axis, size in zip(names, array.shape, strict=False):
                fits &= size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
            if not fits:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {axes}")
        for name, axis, least in _ROWS:
            rows = getattr(self, name)
            if rows.size and not (least <= rows.min() and rows.max() < sizes[axis]):
                raise ValueError(f"{name} has rows out of range, there are {sizes[axis]}")

    def file(self, recording: int) -> str:
        """Return the path of a recording, relative to the data set."""
        return self.recording_file[recording].decode()

    def world_from_ego(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Return the vehicle pose at the time of a recording."""
        return pose_matrix(self.recording_ego[recording])

    def ego_from_sensor(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Return the mounting pose of the sensor of a recording."""
        return pose_matrix(self.calibration_pose[self.recording_calibration[recording]])

    def pixel_from_sensor(self, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Return the intrinsics of a camera, which map (x, y, z, 1) to (u·d, v·d, d, 1)."""
        matrix = np.eye(4)
        calibration = self.recording_calibration[recording]
        matrix[:3, :3] = self.calibration_intrinsic[calibration]
        return matrix

    def sweeps(self, sample: int, count: int) -> list[int]:
        """Return the LiDAR recordings of a sample and before it; fewer at the start of a scene.

        Args:
            sample: Row of the sample.
            count: Maximum length of the list, which starts with the recording of the sample.
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
"""Dtype kind and axes of each array."""

_ROWS = (
    ("sample_scene", "C", 0),
    ("sample_recordings", "R", 0),
    ("recording_calibration", "K", 0),
    ("recording_previous", "R", NONE),
)
"""Arrays of rows, the axis that they index, and their minimum."""


def pose_matrix(pose: Float[np.ndarray, "7"]) -> Float64[np.ndarray, "4 4"]:
    """Return the matrix of a pose x, y, z and quaternion w, x, y, z, which is normalized."""
    matrix = np.eye(4)
    matrix[:3, 3] = pose[:3]
    matrix[:3, :3] = rotation_matrix(pose[3:] / np.linalg.norm(pose[3:]))
    return matrix
