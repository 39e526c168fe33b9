"""Readers of the UnScenes3D file formats: a path in, validated arrays out.

Every reader raises ValueError if a file violates its format, with the path, what was expected,
what was found and what to do; nothing is repaired or skipped.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Integer, Num, UInt8, UInt16

from dataset import cloud_rule, layout
from dataset.calibration import check_camera_matrix, check_rigid
from dataset.cloud_rule import UNSCENES3D_CLOUD, CloudRule
from dataset.file_content import (
    COPY_AGAIN,
    file_name,
    invalid,
    read_bytes,
    read_text,
)
from dataset.image_decoding import EncodedImage, decode_image
from dataset.sample import VehicleState
from utils.labels import IGNORE, UNSCENES3D
from utils.quaternions import rotation_matrix

_INTEGER_ROWS = "Save the rows as integers: rows.astype(np.int64)."
_WRITE_CLOUD = (
    "Write float32 x, y, z, intensity 0–255 (docs/prepare_data.md); dataset.intensity_max sets "
    "another unit."
)
_LOCAL_MAP = CloudRule(None, columns=3)
_SAME_ASPECT = 0.02
"""Relative difference of width over height that rounding to whole pixels leaves."""


@dataclass(frozen=True)
class Calibration:
    """The calibration of a frame.

    Attributes:
        pixel_from_lidar: P2 · R0_rect · Tr_velo_to_cam: maps (x, y, z, 1) [m] to (u·d, v·d, d, 1)
            of the recorded image, d the camera depth [m], pixel centers at integer + 0.5.
        imu_or_world_from_lidar: ``Tr_velo_to_imu``, which holds one or the other
            (``dataset/poses.py``); None if the file lacks it.
    """

    pixel_from_lidar: Float64[np.ndarray, "4 4"]
    imu_or_world_from_lidar: Float64[np.ndarray, "4 4"] | None


@dataclass(frozen=True)
class VehicleInfo:
    """Pose and motion of the vehicle at one frame.

    Attributes:
        stamp_s: Time [s], as in the stem of the frame.
        world_from_imu: Pose of the IMU.
        state: Velocity and acceleration.
    """

    stamp_s: float
    world_from_imu: Float64[np.ndarray, "4 4"]
    state: VehicleState


def read_image(path: Path, *, image_max: float | int | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image as RGB, without the EXIF rotation: the calibration is for stored pixels.

    Args:
        path: The image.
        image_max: White level of images with more than 8 bits per channel; None: 8 bits only.
    """
    return open_image(path, image_max=image_max).rgb()


def open_image(path: Path, *, image_max: float | int | None = None) -> EncodedImage:
    """Read an image without decoding it yet; the arguments are those of ``read_image``."""
    return EncodedImage(file_name(path), read_bytes(path), image_max)


def read_cloud(path: Path, rule: CloudRule = UNSCENES3D_CLOUD) -> Float32[np.ndarray, "P 4"]:
    """Read LiDAR points: x, y, z [m], and intensity as a share of its maximum, 0–1.

    Args:
        path: The point cloud.
        rule: Its columns, number type and unit of the intensity, which must be known.
    """
    assert rule.intensity_max is not None, "the unit of the intensity must be settled"
    points = read_cloud_rows(path, rule)
    return cloud_rule.normalized(points, rule.intensity_max).astype(np.float32, copy=False)


def read_cloud_rows(
    path: Path, rule: CloudRule, *, advice: str = _WRITE_CLOUD
) -> Num[np.ndarray, "P columns"]:
    """Read the rows of a point cloud as stored.

    Args:
        path: The point cloud.
        rule: Its layout and unit, which the numbers must not contradict.
        advice: What to do if they do.
    """
    return _read_rows(path, rule, cloud_rule.contradiction, advice)


def read_local_map(path: Path) -> Float32[np.ndarray, "P 3"]:
    """Read the dense map around a frame [m], in its LiDAR coordinates."""
    return _read_rows(path, _LOCAL_MAP, cloud_rule.layout_contradiction, "Write float32 x, y, z.")


def read_occupancy_rows(path: Path) -> Integer[np.ndarray, "N 4"]:
    """Read rows of x_index, y_index, z_index, class; voxels without a row are free.

    Rows of small integers become int32, in which indices of voxels do not overflow.
    """
    data = read_bytes(path)
    try:
        rows = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise invalid(path, "a numpy array (.npy)", str(error), COPY_AGAIN) from error
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu":
        expected = "integer rows with 4 columns (x, y, z, class)"
        found = f"shape {rows.shape}, {rows.dtype}"
        has_rows = rows.ndim == 2 and rows.shape[1] == 4
        advice = _INTEGER_ROWS if has_rows else "Write sparse rows, not a dense grid."
        raise invalid(path, expected, found, advice)
    _check_rows(path, rows)
    return rows if rows.dtype.itemsize >= 4 else rows.astype(np.int32)


def occupancy_from_rows(rows: Integer[np.ndarray, "N 4"]) -> UInt8[np.ndarray, "X Y Z"]:
    """Convert rows to the label grid: background is ignored, voxels without a row are free.

    If several rows name the same voxel, the last one wins.
    """
    occupancy = np.zeros(layout.LABEL_GRID.shape, np.uint8)
    label = np.where(rows[:, 3] == layout.BACKGROUND, IGNORE, rows[:, 3]).astype(np.uint8)
    occupancy[rows[:, 0], rows[:, 1], rows[:, 2]] = label
    return occupancy


def read_depth_m(path: Path) -> Float32[np.ndarray, "H W"]:
    """Read the camera depth of each recorded pixel [m]; 0 where there is no label."""
    return depth_from_units(read_depth_units(path))


def read_depth_units(
    path: Path, *, image_size: tuple[int, int] | None = None
) -> UInt16[np.ndarray, "H W"]:
    """Read the depth image as stored; 0 where there is no label.

    Args:
        path: The depth image.
        image_size: Height and width that it must have, if known.
    """
    encoded = _read_uint16(path)
    if image_size is not None and encoded.shape != tuple(image_size):
        found = f"{encoded.shape[1]}×{encoded.shape[0]}"
        expected = f"the size of the image, {image_size[1]}×{image_size[0]}"
        raise invalid(path, expected, found, "A depth image must match the recorded image.")
    return encoded


def depth_from_units(encoded: UInt16[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Convert a stored depth image to meters."""
    return np.multiply(encoded, np.float32(1 / layout.DEPTH_UNITS_PER_M), dtype=np.float32)


def read_mask(
    path: Path, *, num_classes: int, image_size: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
    """Read the label of each pixel; free and ignored ones say nothing.

    Args:
        path: A PNG of one channel of 8 bits.
        num_classes: Number of classes, free included.
        image_size: Height and width of the image, which the mask may have at another scale.
    """
    advice = "Write one PNG an image, each pixel its label, 255 where unknown."
    labels = decode_image(file_name(path), read_bytes(path))
    if labels.ndim != 2 or labels.dtype != np.uint8:
        found = f"{labels.dtype} of shape {labels.shape}"
        raise invalid(path, "a PNG of one channel of 8 bits", found, advice)
    height, width = image_size
    area = labels.shape[0] * width
    if abs(labels.shape[1] * height - area) > _SAME_ASPECT * area:
        found = f"{labels.shape[1]}×{labels.shape[0]}"
        expected = f"the proportions of the image, {width}×{height} as stored"
        raise invalid(path, expected, found, "Neither crop the mask nor apply the EXIF rotation.")
    unknown = labels[(labels >= num_classes) & (labels != IGNORE)]
    if len(unknown):
        expected = f"labels below {num_classes}, or {IGNORE}"
        raise invalid(path, expected, f"label {unknown[0]}", advice)
    return labels


def read_elevation_m(path: Path) -> Float32[np.ndarray, "rows cols"]:
    """Read the mean height of each cell in the LiDAR frame [m]; NaN where there is no label."""
    return elevation_from_units(read_elevation_units(path))


def read_elevation_units(path: Path) -> UInt16[np.ndarray, "rows cols"]:
    """Read the elevation image as stored: 0 means no point, and heights may have wrapped around."""
    encoded = _read_uint16(path)
    try:
        layout.elevation_grid((encoded.shape[0], encoded.shape[1]))
    except ValueError as error:
        found = f"{encoded.shape[0]} rows and {encoded.shape[1]} columns"
        raise invalid(path, "the cells of an elevation image", found, f"{error}.") from error
    return encoded


def elevation_from_units(
    encoded: UInt16[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols"]:
    """Convert a stored elevation image to heights [m]; NaN where there is no label.

    Cells that mix the heights of two places have no label either.

    Raises:
        ValueError: If an elevation image cannot have this shape.
    """
    height = layout.ELEVATION_TOP_M - encoded.astype(np.float32) / layout.ELEVATION_UNITS_PER_M
    is_known = (encoded > 0) & (encoded <= layout.ELEVATION_WRAPPED)
    is_known &= ~layout.mixed_elevation_cells((encoded.shape[0], encoded.shape[1]))
    return np.where(is_known, height, np.float32(np.nan))


def read_calibration(path: Path) -> Calibration:
    """Read KITTI's ``KEY: numbers`` text; keys outside the layout are ignored."""
    matrices = read_calibration_matrices(path)
    return Calibration(
        pixel_from_lidar=matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"],
        imu_or_world_from_lidar=matrices.get("Tr_velo_to_imu"),
    )


def read_calibration_matrices(
    path: Path, *, optional: Sequence[str] = ("Tr_velo_to_imu",)
) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """Read the layout's matrices by key, each padded to 4×4 with the identity.

    Args:
        path: The calibration.
        optional: Transforms to include only if the file has them.
    """
    values = _calibration_values(path)
    shapes = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
    shapes |= {key: (3, 4) for key in optional if key in values}
    matrices = {key: _matrix(path, values, key, shape) for key, shape in shapes.items()}
    check_camera_matrix(file_name(path), "P2", matrices["P2"][:3, :3])
    for key in [key for key in matrices if key != "P2"]:
        check_rigid(file_name(path), key, matrices[key])
    return matrices


def _calibration_values(path: Path) -> dict[str, list[str]]:
    """Read the words of each key of KITTI's ``KEY: numbers`` text."""
    values: dict[str, list[str]] = {}
    for line in read_text(path).splitlines():
        key, colon, text = line.partition(":")
        if not colon:
            continue
        if key.strip() in values:
            raise invalid(path, "each key once", f"'{key.strip()}' twice", "Remove one of them.")
        values[key.strip()] = text.split()
    return values


def read_vehicle_info(path: Path) -> VehicleInfo:
    """Read line 1 ``stamp x y z qx qy qz qw`` and line 2 ``stamp vx vy vz ax ay az``."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if [len(line) for line in lines[:2]] != [8, 7]:
        expected = "a line of 8 numbers (pose) and one of 7 (velocity, acceleration)"
        raise invalid(path, expected, f"lines of {[len(line) for line in lines]}", COPY_AGAIN)
    pose, motion = (_numbers(path, f"line {i + 1}", line) for i, line in enumerate(lines[:2]))
    x, y, z, w = pose[4:]
    norm = float(np.linalg.norm(pose[4:]))
    if abs(norm - 1.0) > 0.01:
        found = f"one of length {norm:.4g}"
        raise invalid(path, "a unit quaternion qx qy qz qw", found, "Normalize it.")
    world_from_imu = np.eye(4)
    world_from_imu[:3, :3] = rotation_matrix(np.array([w, x, y, z]) / norm)
    world_from_imu[:3, 3] = pose[1:4]
    vx, vy, vz, ax, ay, az = motion[1:].tolist()
    return VehicleInfo(float(pose[0]), world_from_imu, VehicleState((vx, vy, vz), (ax, ay, az)))


def read_caption(path: Path) -> str:
    """Read one or two sentences about the frame."""
    return read_text(path).strip()


def _read_rows(
    path: Path,
    rule: CloudRule,
    fault: Callable[[np.ndarray, CloudRule], str | None],
    advice: str,
) -> Num[np.ndarray, "P columns"]:
    """Read a file of rows without a header that has no fault."""
    data = read_bytes(path)
    if len(data) % rule.row_bytes:
        likely = cloud_rule.likely_layout(data)
        expected = f"{rule}, a multiple of {rule.row_bytes} bytes"
        found = f"{len(data)} bytes{cloud_rule.naming(likely)}"
        raise invalid(path, expected, found, COPY_AGAIN if likely is None else advice)
    rows = np.frombuffer(data, rule.number_type).reshape(-1, rule.columns)
    stated = replace(rule, intensity_max=None)
    is_finite = bool(np.isfinite(rows).all())
    if not is_finite and cloud_rule.likely_layout(data) in (None, stated):
        finite = np.isfinite(rows).all(axis=1)
        first = int(np.argmin(finite))
        found = f"{(~finite).sum()} rows that are not, the first is {first}: {rows[first].tolist()}"
        raise invalid(path, "finite numbers", found, "Remove these rows when writing clouds.")
    found_fault = fault(rows, rule)
    if found_fault is not None:
        raise ValueError(f"{file_name(path)}: {found_fault}. {advice}")
    return rows


def _check_rows(path: Path, rows: Integer[np.ndarray, "N 4"]) -> None:
    """Reject rows of occupancy with an index outside the grid or an unknown class."""
    limits = (*layout.LABEL_GRID.shape, UNSCENES3D.num_classes)
    # Each column for itself, which is ten times faster than by rows.
    if not any(((at < 0) | (at >= end)).any() for at, end in zip(rows.T, limits, strict=True)):
        return
    off_grid = ((rows[:, :3] < 0) | (rows[:, :3] >= np.array(limits[:3]))).any(axis=1)
    if off_grid.any():
        found = f"{off_grid.sum()} rows outside, the first {rows[off_grid][0].tolist()}"
        expected = f"indices in a grid of {limits[:3]}"
        raise invalid(path, expected, found, "Index from the grid's corner.")
    unknown = rows[(rows[:, 3] < 0) | (rows[:, 3] >= UNSCENES3D.num_classes), 3]
    found = f"{len(unknown)} rows with classes {np.unique(unknown).tolist()}"
    expected = f"classes 0–{UNSCENES3D.num_classes - 1}"
    raise invalid(path, expected, found, "See docs/conventions.md for the classes.")


def _read_uint16(path: Path) -> np.ndarray:
    image = decode_image(file_name(path), read_bytes(path))
    if image.dtype != np.uint16 or image.ndim != 2:
        found = f"{image.dtype} of shape {image.shape}"
        raise invalid(path, "a single-channel uint16 image", found, "Write meters × 256 as PNG.")
    return image


def _matrix(
    path: Path, values: Mapping[str, Sequence[str]], key: str, shape: tuple[int, int]
) -> Float64[np.ndarray, "4 4"]:
    """Parse the matrix of a key, padded to 4×4 with the identity."""
    if key not in values:
        found = f"only {sorted(values)}"
        raise invalid(path, f"a line '{key}: numbers'", found, "Add the key to the calibration.")
    numbers = _numbers(path, key, values[key])
    rows, columns = shape
    if len(numbers) != rows * columns:
        expected = f"{rows * columns} numbers for '{key}'"
        raise invalid(path, expected, str(len(numbers)), f"It must be a {rows}×{columns} matrix.")
    matrix = np.eye(4)
    matrix[:rows, :columns] = numbers.reshape(shape)
    return matrix


def _numbers(path: Path, name: str, words: Sequence[str]) -> Float64[np.ndarray, " n"]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise invalid(path, f"numbers in '{name}'", f"'{' '.join(words)}'", str(error)) from error
    if not np.isfinite(numbers).all():
        raise invalid(path, f"finite numbers in '{name}'", f"'{' '.join(words)}'", COPY_AGAIN)
    return numbers
