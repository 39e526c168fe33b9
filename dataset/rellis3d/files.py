"""Readers of RELLIS-3D's files: a path in, validated arrays out.

Every reader raises ValueError if a file violates its format, with the path, what was expected,
what was found and what to do. Points and poses are turned from the frame of the files, x backward
and y right, to x forward and y left.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from jaxtyping import Bool, Float32, Float64, Int64

from dataset import formats, point_labels
from dataset.calibration import ROTATION_TOLERANCE, check_camera_matrix
from dataset.cloud_rule import CloudRule, normalized
from dataset.file_content import read_text
from dataset.rellis3d.layout import CAMERA_TRANSFORM, NETWORK_FROM_OUSTER
from utils.quaternions import rotation_matrix

_CLOUD = CloudRule(None)
_SAME_LENGTH = 0.01
_FARTHEST_M = 1e5
"""Poses are relative to the start of a sequence."""
_COPY_AGAIN = "Copy it again from the archive of RELLIS-3D"


class Cloud(NamedTuple):
    """The points of a file, in its order.

    Attributes:
        points: x, y, z [m] in the frame of the network, and intensity 0–1.
        records: Number of the record of each point in the file, which its label has, too.
        num_records: Number of records, those without a point included.
    """

    points: Float32[np.ndarray, "P 4"]
    records: Int64[np.ndarray, " P"]
    num_records: int


class Poses(NamedTuple):
    """The poses of a sequence, by number of the frame.

    Attributes:
        world_from_lidar: Poses of the LiDAR in the frame of the network; identity where unknown.
        is_known: Rows that hold a pose.
    """

    world_from_lidar: Float64[np.ndarray, "F 4 4"]
    is_known: Bool[np.ndarray, " F"]


def read_cloud(path: Path, intensity_max: float) -> Cloud:
    """Read an Ouster cloud; records without a point, (0, 0, 0), are dropped.

    Args:
        path: The file.
        intensity_max: The intensity that becomes 1; higher ones do, too. The files hold the
            sensor's number over 65,535, which reaches about 0.01.
    """
    rows = formats.read_cloud_rows(path, _CLOUD, advice="Write float32 x, y, z, intensity.")
    records = np.flatnonzero(rows[:, :3].any(axis=1))
    points = normalized(rows[records], intensity_max).astype(np.float32, copy=False)
    points[:, :2] *= -1.0
    return Cloud(points, records, len(rows))


def read_point_labels(path: Path, cloud: Cloud) -> Int64[np.ndarray, " P"]:
    """Read the class id of each point of a cloud; the file has one for each record."""
    return point_labels.read_point_labels(path, cloud.num_records)[cloud.records]


def read_camera_info(path: Path) -> Float64[np.ndarray, "4 4"]:
    """Read ``fx fy cx cy`` as pixel_from_cam, padded to 4×4 with the identity."""
    words = _text(path, "the camera's intrinsics").split()
    try:
        fx, fy, cx, cy = (float(word) for word in words)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected the four numbers fx fy cx cy, found '{' '.join(words[:8])}'. "
            f"{_COPY_AGAIN}"
        ) from error
    matrix = np.eye(4)
    matrix[:2, :3] = [[fx, 0, cx], [0, fy, cy]]
    check_camera_matrix(str(path), "fx fy cx cy", matrix[:3, :3])
    return matrix


def read_camera_pose(path: Path) -> Float64[np.ndarray, "4 4"]:
    """Read ouster_from_cam from ``transforms.yaml``, both frames as in the files."""
    text = _text(path, "the camera's pose")
    try:
        content = yaml.safe_load(text)
        entry = content[CAMERA_TRANSFORM]
        quaternion = np.array([entry["q"][axis] for axis in "wxyz"], np.float64)
        shift = np.array([entry["t"][axis] for axis in "xyz"], np.float64)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected '{CAMERA_TRANSFORM}' with q: {{w, x, y, z}} and t: {{x, y, z}}, "
            f"found {_first_line(text)!r} ({type(error).__name__}: {_first_line(str(error))}). "
            f"{_COPY_AGAIN}"
        ) from error
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1.0) < _SAME_LENGTH or not np.isfinite(shift).all():
        raise ValueError(
            f"{path}: expected a unit quaternion q and meters t in '{CAMERA_TRANSFORM}', found a "
            f"length of {length:.4g} and t {shift.tolist()}. {_COPY_AGAIN}"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(quaternion / length)
    matrix[:3, 3] = shift
    return matrix


def read_poses(path: Path) -> Poses:
    """Read ``poses.txt``: rows of 3×4 numbers, map_from_ouster.

    A row that is no pose is not an error: the release has such rows where the mapping began later.
    """
    lines = [line.split() for line in _text(path, "the poses").splitlines() if line.strip()]
    wrong = next((n for n, words in enumerate(lines) if len(words) != 12), None)
    if wrong is not None or not lines:
        found = "no line" if wrong is None else f"{len(lines[wrong])} in line {wrong + 1}"
        raise ValueError(f"{path}: expected 12 numbers in each line, found {found}. {_COPY_AGAIN}")
    try:
        rows = np.array(lines, np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers, found {error}. {_COPY_AGAIN}") from error
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = rows.reshape(-1, 3, 4)
    with np.errstate(all="ignore"):  # Rows that are no pose hold any numbers.
        rotations = matrices[:, :3, :3]
        squares = rotations.transpose(0, 2, 1) @ rotations
        is_known = np.abs(squares - np.eye(3)).max(axis=(1, 2)) < ROTATION_TOLERANCE
        is_known &= np.linalg.det(rotations) > 0
        is_known &= np.abs(matrices[:, :3, 3]).max(axis=1) < _FARTHEST_M
    matrices[~is_known] = np.eye(4)
    return Poses(matrices @ np.linalg.inv(NETWORK_FROM_OUSTER), is_known)


def pixel_from_lidar(
    pixel_from_cam: Float64[np.ndarray, "4 4"], ouster_from_cam: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "4 4"]:
    """Return the projection from the network's frame, which maps (x, y, z, 1) to (u·d, v·d, d, 1).

    The distortion of the camera is left out, as in the calibration files.
    """
    return pixel_from_cam @ np.linalg.inv(NETWORK_FROM_OUSTER @ ouster_from_cam)


def _text(path: Path, what: str) -> str:
    """Read a text file of a sequence."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: it holds {what}. Its archive may unpack to another folder, such as "
            "Rellis_3D/: move its content there (docs/prepare_data.md)"
        )
    return read_text(path)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:80] if text.strip() else ""
