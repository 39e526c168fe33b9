"""Point clouds of ROS: PointCloud2 with any fields, and Livox's CustomMsg."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, Num

from dataset.rosbag.bag import NANOSECONDS

INTENSITY_FIELDS = ("intensity", "intensities", "i", "reflectivity", "reflectance")
TIME_FIELDS = ("t", "time", "timestamp", "offset_time", "time_stamp")
LONGEST_SWEEP_NS = NANOSECONDS
"""Point times that span more are not times in a known unit."""

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_ABSOLUTE_NS = 1e15
_ABSOLUTE_S = 1e8


@dataclass(frozen=True)
class Sweep:
    """A point cloud.

    Attributes:
        points: x, y, z [m] in the frame of the LiDAR and, if recorded, the intensity as recorded.
        times_ns: When each point was measured; None: not recorded.
        intensity_max: Largest intensity that its number type can hold, for 8 bits; else None.
    """

    points: Float32[np.ndarray, "P C"]
    times_ns: Int64[np.ndarray, " P"] | None
    intensity_max: float | None


def read_sweep(message: Any, stamp_ns: int, where: str, *, with_times: bool) -> Sweep:
    """Convert a message to a sweep, without points that are NaN, infinite or at the origin.

    Args:
        message: The decoded message, PointCloud2 or CustomMsg.
        stamp_ns: Its stamp.
        where: The topic, for errors.
        with_times: Whether to read the times of the points.

    Raises:
        ValueError: If it lacks x, y or z, is damaged, or its points have impossible times.
    """
    if hasattr(message, "points"):
        return _from_livox(message)
    rows = _structured(message, where)
    names = rows.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise ValueError(f"{where}: expected the fields x, y, z in a cloud, found {list(names)}")
    intensity = next((name for name in INTENSITY_FIELDS if name in names), None)
    time = next((name for name in TIME_FIELDS if with_times and name in names), None)
    columns = ["x", "y", "z", *([intensity] if intensity else [])]
    points = np.stack([rows[name].astype(np.float32) for name in columns], axis=1)
    valid = _is_valid(points)
    times_ns = (
        None if time is None else _absolute_ns(rows[time][valid], stamp_ns, f"{where} {time}")
    )
    is_byte = intensity is not None and rows.dtype[intensity].base == np.uint8
    return Sweep(points[valid], times_ns, 255.0 if is_byte else None)


def _from_livox(message: Any) -> Sweep:
    rows = [(p.x, p.y, p.z, p.reflectivity) for p in message.points]
    points = np.array(rows, np.float32).reshape(-1, 4)
    offsets = np.array([p.offset_time for p in message.points], np.int64)
    valid = _is_valid(points)
    return Sweep(points[valid], (message.timebase + offsets)[valid], 255.0)


def _structured(message: Any, where: str) -> np.ndarray:
    """Return the points of a PointCloud2 as a structured array, without padding of rows."""
    order = ">" if message.is_bigendian else "<"
    fields = [field for field in message.fields if field.count > 0 and field.datatype in _TYPES]
    dtype = np.dtype(
        {
            "names": [field.name for field in fields],
            "formats": [
                (f"{order}{_TYPES[field.datatype]}", (field.count,))
                if field.count > 1
                else f"{order}{_TYPES[field.datatype]}"
                for field in fields
            ],
            "offsets": [field.offset for field in fields],
            "itemsize": message.point_step,
        }
    )
    data = np.ascontiguousarray(message.data)
    row_bytes = message.width * message.point_step
    step = message.row_step if message.height > 1 else row_bytes
    if step < row_bytes or len(data) < message.height * step:
        raise ValueError(
            f"{where}: expected {message.height}×{message.width} points of {message.point_step} "
            f"bytes, found {len(data)} bytes"
        )
    table = data[: message.height * step].reshape(message.height, step)[:, :row_bytes]
    return np.ascontiguousarray(table).reshape(-1).view(dtype)


def _is_valid(points: Float32[np.ndarray, "P C"]) -> Bool[np.ndarray, " P"]:
    is_hit = (points[:, :3] != 0).any(axis=1)  # Drivers put lasers without an echo at the origin.
    return np.isfinite(points).all(axis=1) & is_hit


def _absolute_ns(
    times: Num[np.ndarray, " P"], stamp_ns: int, where: str
) -> Int64[np.ndarray, " P"]:
    """Return point times in nanoseconds.

    Whole numbers are nanoseconds, and floats seconds or, if that large, nanoseconds. Small numbers
    count from the stamp of the cloud.

    Raises:
        ValueError: If they then span more than a sweep can.
    """
    largest = float(np.abs(times.astype(np.float64)).max(initial=0.0))
    if times.dtype.kind in "iu" or largest > _ABSOLUTE_NS:
        found = times.astype(np.int64)
    elif largest > _ABSOLUTE_S:
        whole = np.floor(times.astype(np.float64))
        part = np.rint((times - whole) * NANOSECONDS).astype(np.int64)
        found = whole.astype(np.int64) * NANOSECONDS + part
    else:
        found = np.rint(times.astype(np.float64) * NANOSECONDS).astype(np.int64)
    if largest <= _ABSOLUTE_S or (times.dtype.kind in "iu" and largest < _ABSOLUTE_NS):
        found = found + stamp_ns
    span_ns = int(np.ptp(found)) if len(found) else 0
    if span_ns > LONGEST_SWEEP_NS:
        raise ValueError(
            f"{where}: expected point times in seconds or nanoseconds that span at most 1 s, "
            f"found {span_ns / NANOSECONDS:.4g} s. Convert without --deskew "
            "and --point-times"
        )
    return found
