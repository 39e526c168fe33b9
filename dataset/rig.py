"""Read the calibration file of your own recording: its cameras and its LiDAR.

``.txt`` is in KITTI's format, as in ``calibs/``: P2, R0_rect and Tr_velo_to_cam of one camera.
``.json`` can have several cameras, and gives the network's frame:

    {"cameras": {"front": {"pixel_from_cam": 3×3 rows, "cam_from_lidar": 4×4 rows}},
     "network_from_lidar": 4×4 rows, optional if both frames are the same,
     "image_max": white level of images with more than 8 bits, such as 4095}
     "lidar_height_m": height of the LiDAR above the ground, in place of network_from_lidar,
     "intensity_max": 255, "columns": 4, "dtype": "float32": of the clouds (dataset/cloud_rule.py),
     "time_column": 5: column of the clouds with the time of each point [s], from that of the frame}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.calibration import check_camera_matrix, check_rigid
from dataset.cloud_rule import DTYPES, CloudRule
from dataset.file_content import read_json
from dataset.formats import read_calibration

SUFFIXES = (".txt", ".json")
_MAX_HEIGHT_M = 100.0
"""No vehicle carries its LiDAR higher; centimeters and millimeters are above."""
_CLOUD_KEYS = ("intensity_max", "columns", "dtype")


@dataclass(frozen=True)
class Rig:
    """The sensors of a recording, relative to each other.

    Attributes:
        pixel_from_lidar: Projection of the network's frame into each camera's recorded image.
        network_from_lidar: Transform from the frame of the point clouds to the network's frame.
        image_max: White level of images with more than 8 bits; None: not stated.
        states_frame: Whether the file has that transform.
        lidar_height_m: Height of the LiDAR above the ground; None: not stated.
        clouds: What is stated about the point clouds, by field of ``CloudRule``.
        time_column: Column of the point clouds, from 1, with the time of each point [s] from that
            of the frame; None: not stated.
    """

    pixel_from_lidar: dict[str, Float64[np.ndarray, "4 4"]]
    network_from_lidar: Float64[np.ndarray, "4 4"]
    image_max: float | None = None
    states_frame: bool = False
    lidar_height_m: float | None = None
    clouds: Mapping[str, Any] = field(default_factory=dict)
    time_column: int | None = None


def read_rig(path: Path) -> Rig:
    """Read the calibration of a recording.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the format is unknown, the file is corrupt, or a matrix is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"calibration {path} not found")
    if path.suffix == ".txt":
        return Rig({"camera": read_calibration(path).pixel_from_lidar}, np.eye(4))
    if path.suffix != ".json":
        raise ValueError(f"{path}: a calibration must have one of the suffixes {SUFFIXES}")
    return _from_json(path)


def _from_json(path: Path) -> Rig:
    content = read_json(path)
    known = {"cameras", "network_from_lidar", "lidar_height_m", "image_max", "time_column"}
    known |= set(_CLOUD_KEYS)
    if not isinstance(content, dict) or not set(content) <= known:
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise _error(path, f"an object with the keys {sorted(known)}", str(found))
    cameras = content.get("cameras", {})
    if not isinstance(cameras, dict):
        raise _error(path, "an object of cameras", type(cameras).__name__)
    network_from_lidar = np.eye(4)
    if "network_from_lidar" in content:
        network_from_lidar = _matrix(path, "network_from_lidar", content["network_from_lidar"], 4)
        check_rigid(str(path), "network_from_lidar", network_from_lidar)
    lidar_from_network = np.linalg.inv(network_from_lidar)
    projections = {}
    for name, camera in cameras.items():
        if not isinstance(camera, dict) or set(camera) != {"pixel_from_cam", "cam_from_lidar"}:
            found = sorted(camera) if isinstance(camera, dict) else type(camera).__name__
            raise _error(path, f"pixel_from_cam and cam_from_lidar in '{name}'", str(found))
        pixel_from_cam = np.eye(4)
        key = f"cameras.{name}.pixel_from_cam"
        pixel_from_cam[:3, :3] = _matrix(path, key, camera["pixel_from_cam"], 3)
        check_camera_matrix(str(path), key, pixel_from_cam[:3, :3])
        key = f"cameras.{name}.cam_from_lidar"
        cam_from_lidar = _matrix(path, key, camera["cam_from_lidar"], 4)
        check_rigid(str(path), key, cam_from_lidar)
        projections[name] = pixel_from_cam @ cam_from_lidar @ lidar_from_network
    states_frame = "network_from_lidar" in content
    if states_frame and "lidar_height_m" in content:
        expected = "network_from_lidar or lidar_height_m, as both set the height"
        raise _error(path, expected, "both")
    return Rig(
        projections,
        network_from_lidar,
        image_max=_positive(path, content, "image_max"),
        states_frame=states_frame,
        lidar_height_m=_positive(path, content, "lidar_height_m", below=_MAX_HEIGHT_M),
        clouds=_cloud_keys(path, content),
        time_column=_time_column(path, content),
    )


def _cloud_keys(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated about the point clouds."""
    stated = {key: content[key] for key in _CLOUD_KEYS if key in content}
    if "intensity_max" in stated:
        stated["intensity_max"] = _positive(path, content, "intensity_max")
    if "columns" in stated and type(stated["columns"]) is not int:
        raise _error(path, "an integer as 'columns'", repr(stated["columns"])[:40])
    if "dtype" in stated and stated["dtype"] not in DTYPES:
        raise _error(path, f"one of {DTYPES} as 'dtype'", repr(stated["dtype"])[:40])
    try:
        CloudRule(**({"intensity_max": None} | stated))
    except ValueError as error:
        raise ValueError(f"{path}: {error}. See docs/custom_data.md") from error
    return stated


def _time_column(path: Path, content: Mapping[str, Any]) -> int | None:
    """Return the column with the times of the points; None if the file does not state it."""
    if "time_column" not in content:
        return None
    value, columns = content["time_column"], content.get("columns", 4)
    if type(value) is not int or not 5 <= value <= columns:
        raise _error(
            path, f"a column from 5 to 'columns' ({columns}) as 'time_column'", repr(value)
        )
    return value


def _positive(
    path: Path, content: Mapping[str, Any], key: str, *, below: float | None = None
) -> float | None:
    """Return a positive number below a limit; None if the file does not state it."""
    if key not in content:
        return None
    value = content[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < (2**32 if below is None else below):
        limit = "" if below is None else f" below {below:g}"
        raise _error(path, f"a positive number{limit} as '{key}'", repr(value)[:40])
    return float(value)


def _matrix(path: Path, key: str, rows: Any, size: int) -> Float64[np.ndarray, "n n"]:
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _error(path, f"{size} rows of {size} numbers as '{key}'", str(error)) from error
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        found = f"shape {matrix.shape}" if matrix.shape != (size, size) else "NaN or infinity"
        raise _error(path, f"{size} rows of {size} finite numbers as '{key}'", found)
    return matrix


def _error(path: Path, expected: str, found: str) -> ValueError:
    return ValueError(f"{path}: expected {expected}, found {found}. See docs/custom_data.md")
