"""Builds the index of key frames from the tables of nuScenes.

``sample_data`` and ``ego_pose`` of the full data set have 2.6 million records each. Tables are
therefore read record by record, and only the data of key frames is kept: six images, the point
cloud and the sweeps before it. ``cache.py`` stores the index beside the tables.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.calibration import check_camera_matrix
from dataset.json_records import read_records
from dataset.nuscenes.index import CAMERAS, LIDAR, LIDAR_SLOT, NONE, KeyFrameIndex

TABLES = ("scene", "sensor", "calibrated_sensor", "sample", "sample_data", "ego_pose")
"""The tables to read, as ``NAME.json``."""

_SLOTS = {channel: slot for slot, channel in enumerate((LIDAR, *CAMERAS))}
_UNPACK = "unpack the metadata of nuScenes again (docs/prepare_data.md)"

Record = dict[str, Any]
Report = Callable[[], None]


def build_index(folder: Path, on_chunk: Report | None = None) -> KeyFrameIndex:
    """Build the index of a version.

    Args:
        folder: Folder of the tables, such as ``data/nuscenes/v1.0-mini``.
        on_chunk: Called after each chunk (``json_records.CHUNK_BYTES``) of a table.

    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If a table is corrupt or refers to a missing record, or a sample lacks a sensor.
    """
    tables = {name: Table(folder / f"{name}.json", on_chunk) for name in TABLES}
    scenes = _read_scenes(tables["scene"])
    calibrations = _read_calibrations(tables["sensor"], tables["calibrated_sensor"])
    samples = _read_samples(tables["sample"], scenes)
    recordings = _read_recordings(tables["sample_data"], samples, calibrations)
    poses = _read_poses(tables["ego_pose"], recordings.pose_rows)

    scene_of = np.array(samples.scenes, np.int32)
    names = np.array(scenes.names, np.str_)
    order = np.lexsort([np.array(samples.times_us, np.int64), names[scene_of]])
    tokens = list(samples.rows)
    recording_of = np.array(recordings.of_sample, np.int32).reshape(-1, len(_SLOTS))[order]
    return KeyFrameIndex(
        scene_name=_bytes(scenes.names),
        scene_token=_bytes(scenes.rows),
        sample_token=_bytes(tokens[row] for row in order),
        sample_scene=scene_of[order],
        sample_lidar_token=_bytes(recordings.lidar_tokens[row] for row in order),
        sample_recordings=recording_of,
        recording_file=_bytes(recordings.files),
        recording_time_us=np.array(recordings.times_us, np.int64),
        recording_size=np.array(recordings.sizes, np.int32).reshape(-1, 2),
        recording_previous=np.array(recordings.previous, np.int32),
        recording_calibration=np.array(recordings.calibrations, np.int32),
        recording_ego=poses[np.array(recordings.poses, np.int32)],
        calibration_pose=np.array(calibrations.poses).reshape(-1, 7),
        calibration_intrinsic=np.array(calibrations.intrinsics).reshape(-1, 3, 3),
    )


class Table:
    """The records of one table, with validated access to their values."""

    def __init__(self, path: Path, on_chunk: Report | None) -> None:
        self.path = path
        self._on_chunk = on_chunk

    def __iter__(self) -> Iterator[Record]:
        """Yield the records; each has a token."""
        for record in read_records(self.path, self._on_chunk):
            self.text(record, "token")
            yield record

    def text(self, record: Record, key: str) -> str:
        """Return a string of a record."""
        return self._value(record, key, str, "a string")

    def integer(self, record: Record, key: str) -> int:
        """Return an integer of a record."""
        return self._value(record, key, int, "an integer")

    def flag(self, record: Record, key: str) -> bool:
        """Return a Boolean of a record."""
        return self._value(record, key, bool, "true or false")

    def row(self, record: Record, key: str, rows: Mapping[str, int], other: str) -> int:
        """Return the row of the record of another table that a record refers to."""
        row = rows.get(self.text(record, key))
        if row is None:
            raise ValueError(
                f"{self.path}: record '{record['token']}' names the {other} '{record[key]}', "
                f"which {other}.json lacks. The tables do not match: {_UNPACK}"
            )
        return row

    def vector(self, record: Record, key: str, count: int) -> list[float]:
        """Return a list of numbers of a record."""
        values = record.get(key)
        if not isinstance(values, list) or not _is_vector(values, count):
            raise self.fault(record, f"{count} numbers as '{key}'", values)
        return values

    def require(self, tokens: Iterable[str], known: Container[str], other: str) -> None:
        """Refuse tokens of another table that are not known."""
        missing = next((token for token in tokens if token not in known), None)
        if missing is not None:
            raise ValueError(
                f"{self.path} names the {other} '{missing}', which {other}.json lacks. The tables "
                f"do not match: {_UNPACK}"
            )

    def pose(self, record: Record) -> list[float]:
        """Return the translation and rotation of a record as 7 numbers."""
        translation = self.vector(record, "translation", 3)
        rotation = self.vector(record, "rotation", 4)
        if abs(math.hypot(*rotation) - 1.0) > 0.01:
            raise self.fault(record, "a unit quaternion w x y z as 'rotation'", rotation)
        return [*translation, *rotation]

    def intrinsic(self, record: Record) -> list[list[float]]:
        """Return the camera matrix of a record."""
        matrix = record.get("camera_intrinsic")
        if not isinstance(matrix, list) or [_is_vector(row, 3) for row in matrix] != [True] * 3:
            raise self.fault(record, "3×3 numbers as 'camera_intrinsic'", matrix)
        where = f"{self.path}: record '{record['token']}'"
        try:
            check_camera_matrix(where, "camera_intrinsic", np.array(matrix, np.float64))
        except ValueError as error:
            raise ValueError(f"{error} The table is corrupt: {_UNPACK}") from error
        return matrix

    def fault(self, record: Record, expected: str, found: object) -> ValueError:
        """Return the error for a corrupt record."""
        return ValueError(
            f"{self.path}: record '{record.get('token')}': expected {expected}, got {found!r}. "
            f"The table is corrupt: {_UNPACK}"
        )

    def _value(self, record: Record, key: str, kind: type, what: str) -> Any:
        value = record.get(key)
        if not isinstance(value, kind):
            raise self.fault(record, f"{what} as '{key}'", value)
        return value


@dataclass
class _Scenes:
    """Row of each scene by token, and name by row."""

    rows: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


@dataclass
class _Calibrations:
    """Row of each calibration by token; by row: slot of the sensor, pose and intrinsics."""

    rows: dict[str, int] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    poses: list[list[float]] = field(default_factory=list)
    intrinsics: list[list[list[float]]] = field(default_factory=list)


@dataclass
class _Samples:
    """Row of each sample by token; by row: scene and time."""

    rows: dict[str, int] = field(default_factory=dict)
    scenes: list[int] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)


@dataclass
class _Recordings:
    """The recordings of key frames, by row, and those of each sample, by its row."""

    files: list[str] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    previous: list[int] = field(default_factory=list)
    calibrations: list[int] = field(default_factory=list)
    poses: list[int] = field(default_factory=list)
    pose_rows: dict[str, int] = field(default_factory=dict)
    of_sample: list[list[int]] = field(default_factory=list)
    lidar_tokens: list[str] = field(default_factory=list)


def _read_scenes(table: Table) -> _Scenes:
    found = _Scenes()
    for record in table:
        found.rows[record["token"]] = len(found.names)
        found.names.append(table.text(record, "name"))
    return found


def _read_calibrations(sensors: Table, table: Table) -> _Calibrations:
    slot_of = {
        record["token"]: _SLOTS.get(sensors.text(record, "channel"), NONE) for record in sensors
    }
    found = _Calibrations()
    for record in table:
        slot = table.row(record, "sensor_token", slot_of, "sensor")
        is_camera = slot not in (NONE, LIDAR_SLOT)
        found.rows[record["token"]] = len(found.slots)
        found.slots.append(slot)
        found.poses.append(table.pose(record))
        found.intrinsics.append(table.intrinsic(record) if is_camera else [[0.0] * 3] * 3)
    return found


def _read_samples(table: Table, scenes: _Scenes) -> _Samples:
    found = _Samples()
    for record in table:
        found.rows[record["token"]] = len(found.scenes)
        found.scenes.append(table.row(record, "scene_token", scenes.rows, "scene"))
        found.times_us.append(table.integer(record, "timestamp"))
    return found


def _read_recordings(table: Table, samples: _Samples, calibrations: _Calibrations) -> _Recordings:
    found = _Recordings(
        of_sample=[[NONE] * len(_SLOTS) for _ in samples.rows],
        lidar_tokens=[""] * len(samples.rows),
    )
    before: dict[str, str] = {}  # Token of each LiDAR recording: token of the previous one.
    rows: dict[str, int] = {}  # Token of each LiDAR recording: its row.
    for record in table:
        calibration = table.row(
            record, "calibrated_sensor_token", calibrations.rows, "calibrated_sensor"
        )
        slot = calibrations.slots[calibration]
        is_key_frame = table.flag(record, "is_key_frame")
        if slot == NONE or not (is_key_frame or slot == LIDAR_SLOT):
            continue
        row = _keep(found, table, record, calibration)
        if slot == LIDAR_SLOT:
            before[record["token"]] = table.text(record, "prev")
            rows[record["token"]] = row
        if is_key_frame:
            sample = table.row(record, "sample_token", samples.rows, "sample")
            _assign(found, table, record, sample, slot)
    for token, previous in before.items():
        if previous:
            link = {"token": token, "prev": previous}
            found.previous[rows[token]] = table.row(link, "prev", rows, "sample_data")
    _reject_gaps(table, samples, found)
    return found


def _keep(found: _Recordings, table: Table, record: Record, calibration: int) -> int:
    """Add a recording and return its row."""
    pose_token = table.text(record, "ego_pose_token")
    found.files.append(table.text(record, "filename"))
    found.times_us.append(table.integer(record, "timestamp"))
    found.sizes.append((int(record.get("height") or 0), int(record.get("width") or 0)))
    found.previous.append(NONE)
    found.calibrations.append(calibration)
    found.poses.append(found.pose_rows.setdefault(pose_token, len(found.pose_rows)))
    return len(found.files) - 1


def _assign(found: _Recordings, table: Table, record: Record, sample: int, slot: int) -> None:
    """Assign the last recording to a sample."""
    if found.of_sample[sample][slot] != NONE:
        raise table.fault(record, "one key frame per sensor and sample", "two")
    found.of_sample[sample][slot] = len(found.files) - 1
    if slot == LIDAR_SLOT:
        found.lidar_tokens[sample] = record["token"]


def _reject_gaps(table: Table, samples: _Samples, found: _Recordings) -> None:
    """Reject samples that lack a recording of a sensor."""
    for token, recordings in zip(samples.rows, found.of_sample, strict=True):
        if NONE in recordings:
            channel = (LIDAR, *CAMERAS)[recordings.index(NONE)]
            raise ValueError(
                f"{table.path}: sample '{token}' has no key frame of {channel}. The table is "
                f"incomplete: {_UNPACK}"
            )


def _read_poses(table: Table, rows: Mapping[str, int]) -> Float64[np.ndarray, "P 7"]:
    """Read the poses of some tokens, by row."""
    poses = np.full((len(rows), 7), np.nan)
    for record in table:
        row = rows.get(record["token"])
        if row is not None:
            poses[row] = table.pose(record)
    missing = [token for token, row in rows.items() if np.isnan(poses[row, 0])]
    if missing:
        raise ValueError(
            f"{table.path}: {len(missing)} of the {len(rows)} poses that sample_data.json refers "
            f"to are missing, such as '{missing[0]}'. The tables do not match: {_UNPACK}"
        )
    return poses


def _is_vector(values: object, count: int) -> bool:
    """Return whether a value is a list of ``count`` numbers; JSON has no NaN or infinity."""
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(value, int | float) for value in values)


def _bytes(texts: Iterable[str]) -> np.ndarray:
    return np.array([text.encode() for text in texts], dtype=np.bytes_)
