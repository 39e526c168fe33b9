"""Readers of the UnScenes3D files, one a kind: a path in, checked arrays out.

Every reader raises ValueError where the file is not what the format says, with the path, what was
expected, what was found and what to do; nothing is repaired or skipped.
"""

import codecs
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8, UInt16

from dataset import layout
from dataset.sample import VehicleState
from utils.labels import IGNORE, UNSCENES3D
from utils.quaternions import rotation_matrix

_COPY_AGAIN = "The file is damaged: copy it again from the data set's archive."
_JPEG, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"  # JPEG's markers.
_PNG = b"\x89PNG"


@dataclass(frozen=True)
class Calibration:
    """What a frame's calibration says.

    Attributes:
        pixel_from_lidar: P2 · R0_rect · Tr_velo_to_cam: maps (x, y, z, 1) [m] to (u·d, v·d, d, 1)
            of the recorded image, d the camera depth [m], pixel centres at integer + 0.5.
        imu_or_world_from_lidar: ``Tr_velo_to_imu``, which holds one or the other
            (``dataset/poses.py``); None where the file lacks it.
    """

    pixel_from_lidar: Float64[np.ndarray, "4 4"]
    imu_or_world_from_lidar: Float64[np.ndarray, "4 4"] | None


@dataclass(frozen=True)
class VehicleInfo:
    """What the vehicle says of itself at one frame.

    Attributes:
        stamp_s: When [s]; the time that the frame's stem names.
        world_from_imu: Pose of the IMU.
        state: Speed and acceleration.
    """

    stamp_s: float
    world_from_imu: Float64[np.ndarray, "4 4"]
    state: VehicleState


@dataclass(frozen=True)
class Scene:
    """One drive of ``scene_info.json``.

    Attributes:
        location: Region of the mine, such as "location_4_5".
        samples: Stems of the labelled frames.
        sweeps: Stems of the unlabelled frames between them.
    """

    location: str
    samples: tuple[str, ...]
    sweeps: tuple[str, ...]


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """The recorded image in RGB; its pixels as stored, for the calibration is about those."""
    bgr = _decode_picture(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def read_cloud(path: Path, *, columns: int = 4) -> Float32[np.ndarray, "P columns"]:
    """LiDAR returns: x, y, z [m], intensity, and further columns where a layout has more."""
    return _read_floats(path, columns=columns)


def read_local_map(path: Path) -> Float32[np.ndarray, "P 3"]:
    """Dense map around the frame [m], in the frame's LiDAR frame."""
    return _read_floats(path, columns=3)


def read_occupancy_rows(path: Path) -> Integer[np.ndarray, "N 4"]:
    """Rows x_index, y_index, z_index, class of the voxels that are not free."""
    data = _read_bytes(path)
    try:
        rows = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise _fault(path, "an array of numpy (.npy)", str(error), _COPY_AGAIN) from error
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu":
        expected = "integer rows of 4 columns (x, y, z, class)"
        found = f"shape {rows.shape}, {rows.dtype}"
        raise _fault(path, expected, found, "Write the labels as sparse rows, not as a grid.")
    shape = layout.LABEL_GRID.shape
    off_grid = ((rows[:, :3] < 0) | (rows[:, :3] >= np.array(shape))).any(axis=1)
    if off_grid.any():
        found = f"{off_grid.sum()} rows off it, the first {rows[off_grid][0].tolist()}"
        raise _fault(path, f"indices in a grid of {shape}", found, "Index from the grid's corner.")
    unknown = (rows[:, 3] < 0) | (rows[:, 3] >= UNSCENES3D.num_classes)
    if unknown.any():
        found = f"{unknown.sum()} rows of classes {np.unique(rows[unknown, 3]).tolist()}"
        expected = f"classes 0–{UNSCENES3D.num_classes - 1}"
        raise _fault(path, expected, found, "See docs/conventions.md for the classes.")
    return rows


def occupancy_from_rows(rows: Integer[np.ndarray, "N 4"]) -> UInt8[np.ndarray, "X Y Z"]:
    """The label grid of rows: background is ignored, voxels of no row are free.

    Where two rows name the same voxel the later one holds.
    """
    occupancy = np.zeros(layout.LABEL_GRID.shape, np.uint8)
    label = np.where(rows[:, 3] == layout.BACKGROUND_ROW, IGNORE, rows[:, 3]).astype(np.uint8)
    occupancy[rows[:, 0], rows[:, 1], rows[:, 2]] = label
    return occupancy


def read_depth_m(
    path: Path, *, image_size: tuple[int, int] | None = None
) -> Float32[np.ndarray, "H W"]:
    """Camera depth of each recorded pixel [m]; 0 where there is no label.

    Args:
        path: The picture.
        image_size: Height and width that it must have, where the image is known.
    """
    encoded = _read_uint16(path)
    if image_size is not None and encoded.shape != tuple(image_size):
        found = f"{encoded.shape[1]}×{encoded.shape[0]}"
        expected = f"the size of the image, {image_size[1]}×{image_size[0]}"
        raise _fault(path, expected, found, "Depth labels belong to the recorded image.")
    return np.multiply(encoded, np.float32(1 / layout.DEPTH_UNITS_PER_M), dtype=np.float32)


def read_elevation_m(path: Path) -> Float32[np.ndarray, "rows cols"]:
    """Mean height of each cell in the LiDAR frame [m]; NaN where there is no label."""
    return elevation_from_units(read_elevation_units(path))


def read_elevation_units(path: Path) -> UInt16[np.ndarray, "rows cols"]:
    """The elevation picture as it is stored: 0 is no point, and heights may have wrapped around."""
    encoded = _read_uint16(path)
    try:
        layout.elevation_grid((encoded.shape[0], encoded.shape[1]))
    except ValueError as error:
        found = f"{encoded.shape[0]} rows and {encoded.shape[1]} columns"
        raise _fault(path, "the cells of an elevation picture", found, f"{error}.") from error
    return encoded


def elevation_from_units(
    encoded: UInt16[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols"]:
    """Heights [m] of a stored elevation picture; NaN where there is no label.

    There is none either in the cells that mix the heights of two places.

    Raises:
        ValueError: If an elevation picture cannot have this shape.
    """
    height = layout.ELEVATION_TOP_M - encoded.astype(np.float32) / layout.ELEVATION_UNITS_PER_M
    is_known = (encoded > 0) & (encoded <= layout.ELEVATION_WRAPPED)
    is_known &= ~layout.mixed_elevation_cells((encoded.shape[0], encoded.shape[1]))
    return np.where(is_known, height, np.float32(np.nan))


def read_calibration(path: Path) -> Calibration:
    """KITTI's text of ``KEY: numbers``; keys other than the four of the layout are not read."""
    matrices = read_calibration_matrices(path)
    return Calibration(
        pixel_from_lidar=matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"],
        imu_or_world_from_lidar=matrices.get("Tr_velo_to_imu"),
    )


def read_calibration_matrices(path: Path) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """The layout's matrices by their keys, filled up with the identity.

    Tr_velo_to_imu is among them only where the file has it.
    """
    lines = [line.partition(":") for line in read_text(path).splitlines()]
    values = {key.strip(): text.split() for key, colon, text in lines if colon}
    shapes = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
    if "Tr_velo_to_imu" in values:
        shapes["Tr_velo_to_imu"] = (3, 4)
    return {key: _matrix(path, values, key, shape) for key, shape in shapes.items()}


def read_vehicle_info(path: Path) -> VehicleInfo:
    """Line 1 ``stamp x y z qx qy qz qw``, line 2 ``stamp vx vy vz ax ay az``."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if [len(line) for line in lines[:2]] != [8, 7]:
        expected = "a line of 8 numbers (pose) and one of 7 (speed, acceleration)"
        raise _fault(path, expected, f"lines of {[len(line) for line in lines]}", _COPY_AGAIN)
    pose, motion = (_numbers(path, f"line {i + 1}", line) for i, line in enumerate(lines[:2]))
    x, y, z, w = pose[4:]
    norm = float(np.linalg.norm(pose[4:]))
    if abs(norm - 1.0) > 0.01:
        found = f"one of length {norm:.4g}"
        raise _fault(path, "a unit quaternion qx qy qz qw", found, "Write the pose's rotation so.")
    world_from_imu = np.eye(4)
    world_from_imu[:3, :3] = rotation_matrix(np.array([w, x, y, z]) / norm)
    world_from_imu[:3, 3] = pose[1:4]
    vx, vy, vz, ax, ay, az = motion[1:].tolist()
    return VehicleInfo(float(pose[0]), world_from_imu, VehicleState((vx, vy, vz), (ax, ay, az)))


def read_scene_info(path: Path) -> dict[str, Scene]:
    """The drives of a data set by name, from ``scene_info.json``."""
    advice = 'Each scene is {"location": text, "samples": [stems], "sweeps": [stems]}.'
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise _fault(path, "JSON", str(error), _COPY_AGAIN) from error
    if not isinstance(content, dict):
        raise _fault(path, "an object of scenes", type(content).__name__, advice)
    scenes = {}
    for name, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("samples"), list):
            raise _fault(path, f"a list of samples in '{name}'", "none", advice)
        stems = [entry["samples"], entry.get("sweeps", [])]
        if not all(isinstance(stem, str) for group in stems for stem in group):
            raise _fault(path, f"stems of '{name}' as text", "numbers", advice)
        scenes[name] = Scene(str(entry.get("location", "")), tuple(stems[0]), tuple(stems[1]))
    return scenes


def read_stem_list(path: Path) -> list[str]:
    """The stems of a split, one a line; an empty file is an empty split."""
    text = read_text(path) if path.stat().st_size else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_caption(path: Path) -> str:
    """One or two sentences about the frame."""
    return read_text(path).strip()


def read_text(path: Path) -> str:
    """Text in UTF-8, or in UTF-16 where the file begins with its byte-order mark."""
    data = _read_bytes(path)
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        advice = "Save it as UTF-8, or as UTF-16 with a byte-order mark."
        raise _fault(path, f"text in {encoding}", str(error), advice) from error


def _fault(path: Path, expected: str, found: str, advice: str) -> ValueError:
    frame = "" if path.parent.name == layout.IMAGESETS else f" (frame {path.stem})"
    return ValueError(f"{path}{frame}: expected {expected}, found {found}. {advice}")


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        message = f"{path} (frame {path.stem}) is not there: copy it, or leave the frame out"
        raise FileNotFoundError(message) from error
    if not data:
        raise _fault(path, "content", "an empty file", _COPY_AGAIN)
    return data


def _read_floats(path: Path, *, columns: int) -> Float32[np.ndarray, "P C"]:
    data = _read_bytes(path)
    row_bytes = 4 * columns
    if len(data) % row_bytes:
        expected = f"rows of {columns} float32, a multiple of {row_bytes} bytes"
        raise _fault(path, expected, f"{len(data)} bytes", _COPY_AGAIN)
    points = np.frombuffer(data, dtype="<f4").reshape(-1, columns)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        found = f"{(~finite).sum()} rows that are not, the first {first}: {points[first].tolist()}"
        raise _fault(path, "finite numbers", found, "Leave such rows out when writing clouds.")
    return points


def _decode_picture(path: Path, flags: int) -> np.ndarray:
    data = _read_bytes(path)
    # A decoder fills up a truncated picture in silence; no marker occurs inside coded JPEG data.
    is_cut = data.startswith(_JPEG) and data.rfind(_END) < data.rfind(_SCAN)
    is_cut |= data.startswith(_PNG) and b"IEND" not in data[-1024:]
    if is_cut:
        raise _fault(path, "a whole picture", f"one that ends at byte {len(data)}", _COPY_AGAIN)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if picture is None:
        found = f"{len(data)} bytes that do not decode"
        raise _fault(path, "a picture (JPEG or PNG)", found, _COPY_AGAIN)
    return picture


def _read_uint16(path: Path) -> np.ndarray:
    picture = _decode_picture(path, cv2.IMREAD_UNCHANGED)
    if picture.dtype != np.uint16 or picture.ndim != 2:
        found = f"{picture.dtype} of shape {picture.shape}"
        raise _fault(path, "a uint16 picture of one channel", found, "Write metres × 256 as PNG.")
    return picture


def _matrix(
    path: Path, values: Mapping[str, Sequence[str]], key: str, shape: tuple[int, int]
) -> Float64[np.ndarray, "4 4"]:
    """A key's matrix, filled up with the identity."""
    if key not in values:
        found = f"only {sorted(values)}"
        raise _fault(path, f"a line '{key}: numbers'", found, "Add the key to the calibration.")
    numbers = _numbers(path, key, values[key])
    rows, columns = shape
    if len(numbers) != rows * columns:
        expected = f"{rows * columns} numbers for '{key}'"
        raise _fault(path, expected, str(len(numbers)), f"It is a {rows}×{columns} matrix.")
    matrix = np.eye(4)
    matrix[:rows, :columns] = numbers.reshape(shape)
    return matrix


def _numbers(path: Path, name: str, words: Sequence[str]) -> Float64[np.ndarray, " n"]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise _fault(path, f"numbers in '{name}'", f"'{' '.join(words)}'", str(error)) from error
    if not np.isfinite(numbers).all():
        raise _fault(path, f"finite numbers in '{name}'", f"'{' '.join(words)}'", _COPY_AGAIN)
    return numbers
