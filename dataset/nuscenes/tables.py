"""Reads the tables of nuScenes once into an index of the key frames.

``sample_data`` and ``ego_pose`` of the full data set have 2.6 million records each, so tables are
read record by record and only what key frames need is kept: their six images, their LiDAR cloud
and the sweeps before it. ``nuscenes_cache.py`` keeps the index beside the tables.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.json_records import read_records
from dataset.nuscenes.index import CAMERAS, LIDAR, LIDAR_SLOT, NONE, KeyFrameIndex

TABLES = ("scene", "sensor", "calibrated_sensor", "sample", "sample_data", "ego_pose")
"""The tables that are read, ``NAME.json`` each."""

_SLOTS = {channel: slot for slot, channel in enumerate((LIDAR, *CAMERAS))}
_UNPACK = "unpack the metadata of nuScenes again (docs/prepare_data.md)"

Record = dict[str, Any]
Report = Callable[[], None]


def build_index(folder: Path, on_chunk: Report | None = None) -> KeyFrameIndex:
    """Read the tables of a version.

    Args:
        folder: Folder of the tables, such as ``data/nuscenes/v1.0-mini``.
        on_chunk: Called after each chunk (``json_records.CHUNK_BYTES``) of a table.

    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If one is damaged, names a record that another lacks, or a sample lacks a
            sensor.
    """
    tables = {name: _Table(folder / f"{name}.json", on_chunk) for name in TABLES}
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


class _Table:
    """The records of one table, and checked access to what they hold."""

    def __init__(self, path: Path, on_chunk: Report | None) -> None:
        self.path = path
        self._on_chunk = on_chunk

    def __iter__(self) -> Iterator[Record]:
        """The records; each has a token."""
        for record in read_records(self.path, self._on_chunk):
            self.text(record, "token")
            yield record

    def text(self, record: Record, key: str) -> str:
        """A text of a record."""
        return self._value(record, key, str, "a text")

    def integer(self, record: Record, key: str) -> int:
        """A whole number of a record."""
        return self._value(record, key, int, "a whole number")

    def flag(self, record: Record, key: str) -> bool:
        """A yes or no of a record."""
        return self._value(record, key, bool, "true or false")

    def row(self, record: Record, key: str, rows: Mapping[str, int], other: str) -> int:
        """Row of the record of another table that a record names."""
        row = rows.get(self.text(record, key))
        if row is None:
            raise ValueError(
                f"{self.path}: record '{record['token']}' names the {other} '{record[key]}', "
                f"which {other}.json lacks. The tables do not belong together: {_UNPACK}"
            )
        return row

    def pose(self, record: Record) -> list[float]:
        """Translation and rotation of a record as 7 numbers."""
        place, turn = self._numbers(record, "translation", 3), self._numbers(record, "rotation", 4)
        if abs(math.hypot(*turn) - 1.0) > 0.01:
            raise self.fault(record, "a unit quaternion w x y z as 'rotation'", turn)
        return [*place, *turn]

    def intrinsic(self, record: Record) -> list[list[float]]:
        """The camera matrix of a record."""
        matrix = record.get("camera_intrinsic")
        if not isinstance(matrix, list) or [_is_vector(row, 3) for row in matrix] != [True] * 3:
            raise self.fault(record, "3×3 numbers as 'camera_intrinsic'", matrix)
        return matrix

    def fault(self, record: Record, expected: str, found: object) -> ValueError:
        """The error of a record that is not as the format says."""
        return ValueError(
            f"{self.path}: record '{record.get('token')}': expected {expected}, found {found!r}. "
            f"The table is damaged: {_UNPACK}"
        )

    def _numbers(self, record: Record, key: str, count: int) -> list[float]:
        values = record.get(key)
        if not isinstance(values, list) or not _is_vector(values, count):
            raise self.fault(record, f"{count} numbers as '{key}'", values)
        return values

    def _value(self, record: Record, key: str, kind: type, what: str) -> Any:
        value = record.get(key)
        if not isinstance(value, kind):
            raise self.fault(record, f"{what} as '{key}'", value)
        return value


@dataclass
class _Scenes:
    """Row of each scene by token, and its name by row."""

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
    """Row of each sample by token; by row: its scene and time."""

    rows: dict[str, int] = field(default_factory=dict)
    scenes: list[int] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)


@dataclass
class _Recordings:
    """The recordings that are kept, by row, and what belongs to each sample, by its row."""

    files: list[str] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    previous: list[int] = field(default_factory=list)
    calibrations: list[int] = field(default_factory=list)
    poses: list[int] = field(default_factory=list)
    pose_rows: dict[str, int] = field(default_factory=dict)
    of_sample: list[list[int]] = field(default_factory=list)
    lidar_tokens: list[str] = field(default_factory=list)


def _read_scenes(table: _Table) -> _Scenes:
    found = _Scenes()
    for record in table:
        found.rows[record["token"]] = len(found.names)
        found.names.append(table.text(record, "name"))
    return found


def _read_calibrations(sensors: _Table, table: _Table) -> _Calibrations:
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


def _read_samples(table: _Table, scenes: _Scenes) -> _Samples:
    found = _Samples()
    for record in table:
        found.rows[record["token"]] = len(found.scenes)
        found.scenes.append(table.row(record, "scene_token", scenes.rows, "scene"))
        found.times_us.append(table.integer(record, "timestamp"))
    return found


def _read_recordings(table: _Table, samples: _Samples, calibrations: _Calibrations) -> _Recordings:
    found = _Recordings(
        of_sample=[[NONE] * len(_SLOTS) for _ in samples.rows],
        lidar_tokens=[""] * len(samples.rows),
    )
    before: dict[str, str] = {}  # LiDAR recordings by token: the token of the one before.
    rows: dict[str, int] = {}  # And their rows.
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
    _refuse_gaps(table, samples, found)
    return found


def _keep(found: _Recordings, table: _Table, record: Record, calibration: int) -> int:
    """Add a recording; its row."""
    pose_token = table.text(record, "ego_pose_token")
    found.files.append(table.text(record, "filename"))
    found.times_us.append(table.integer(record, "timestamp"))
    found.sizes.append((int(record.get("height") or 0), int(record.get("width") or 0)))
    found.previous.append(NONE)
    found.calibrations.append(calibration)
    found.poses.append(found.pose_rows.setdefault(pose_token, len(found.pose_rows)))
    return len(found.files) - 1


def _assign(found: _Recordings, table: _Table, record: Record, sample: int, slot: int) -> None:
    """Make the recording that was added last that of a sample."""
    if found.of_sample[sample][slot] != NONE:
        raise table.fault(record, "one key frame of a sensor a sample", "a second one")
    found.of_sample[sample][slot] = len(found.files) - 1
    if slot == LIDAR_SLOT:
        found.lidar_tokens[sample] = record["token"]


def _refuse_gaps(table: _Table, samples: _Samples, found: _Recordings) -> None:
    """Check that every sample has a recording of every sensor."""
    for token, recordings in zip(samples.rows, found.of_sample, strict=True):
        if NONE in recordings:
            channel = (LIDAR, *CAMERAS)[recordings.index(NONE)]
            raise ValueError(
                f"{table.path}: sample '{token}' has no key frame of {channel}. The table is not "
                f"complete: {_UNPACK}"
            )


def _read_poses(table: _Table, rows: Mapping[str, int]) -> Float64[np.ndarray, "P 7"]:
    """The poses of some tokens, by row."""
    poses = np.full((len(rows), 7), np.nan)
    for record in table:
        row = rows.get(record["token"])
        if row is not None:
            poses[row] = table.pose(record)
    missing = [token for token, row in rows.items() if np.isnan(poses[row, 0])]
    if missing:
        raise ValueError(
            f"{table.path}: {len(missing)} of the {len(rows)} poses that sample_data.json names "
            f"are not there, such as '{missing[0]}'. The tables do not belong together: {_UNPACK}"
        )
    return poses


def _is_vector(values: object, count: int) -> bool:
    """Whether a value is a list of so many numbers; JSON has neither NaN nor infinity."""
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(value, int | float) for value in values)


def _bytes(texts: Iterable[str]) -> np.ndarray:
    return np.array([text.encode() for text in texts], dtype=np.bytes_)
