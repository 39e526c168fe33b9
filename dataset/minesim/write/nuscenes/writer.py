"""Writes scenes in the layouts of nuScenes and its three occupancy benchmarks.

The root holds ``nuscenes/`` (tables, point clouds, images) and the folders of the benchmarks. Only
the tables of recordings are written: no boxes, attributes or maps.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dataset.layout_files import write_encoded
from dataset.minesim.write.nuscenes.rig import RigCamera, ego_from_sensor
from dataset.minesim.write.plan import NUSCENES_FOLDER
from dataset.minesim.write.writer import JPEG_QUALITY
from dataset.nuscenes import labels as nuscenes_labels
from dataset.nuscenes.index import CAMERAS, LIDAR
from dataset.occupancy_files import write_archive, write_array
from utils.labels import FREE, NUSCENES
from utils.quaternions import quaternion_xyzw
from utils.whole_files import write_whole

TABLES = ("log", "scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")

_NOISE = 0
"""Class of rows that SurroundOcc and OpenOccupancy ignore."""

Record = dict[str, Any]


@dataclass(frozen=True)
class SceneCard:
    """Identity of a scene and its place on the map.

    Attributes:
        name: Official name, such as "scene-0061".
        seed: Seed of the data set, which makes its tokens unique.
        location: Mine region that the scene imitates.
        description: Short description.
        sample_times_us: LiDAR time of each sample [µs].
        global_from_world: Pose of the MineSim world in the frame of the ego poses.
    """

    name: str
    seed: int
    location: str
    description: str
    sample_times_us: tuple[int, ...]
    global_from_world: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Shot:
    """Time and pose of a recording.

    Attributes:
        sample: Number of the sample that it belongs to.
        time_us: Timestamp [µs].
        is_key_frame: Whether it is a key frame or a sweep.
        world_from_ego: Pose of the car.
    """

    sample: int
    time_us: int
    is_key_frame: bool
    world_from_ego: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class KeyFrameLabels:
    """Labels of a key frame in the project's convention: 0 is free, 17 is others.

    Attributes:
        volumes: Labels of each benchmark on its own grid.
        mask_camera: Voxels of the Occ3D grid seen by a camera.
        mask_lidar: Voxels of the Occ3D grid seen by the LiDAR.
    """

    volumes: Mapping[str, UInt8[np.ndarray, "X Y Z"]]
    mask_camera: Bool[np.ndarray, "200 200 16"]
    mask_lidar: Bool[np.ndarray, "200 200 16"]


class SceneWriter:
    """Writes the files of one scene and collects its records.

    Write the recordings of each sensor in order of time.

    Args:
        root: Folder of ``nuscenes/`` and the benchmark folders; created if missing.
        card: Identity of the scene.
        image_size: Width and height of the images [px].

    Attributes:
        records: Records of the scene by table, except for "sensor".
    """

    def __init__(self, root: Path, card: SceneCard, image_size: tuple[int, int]) -> None:
        self._root = root
        self._card = card
        self._last: dict[str, Record] = {}
        self._lidar: dict[int, Record] = {}
        self.records: dict[str, list[Record]] = {name: [] for name in TABLES if name != "sensor"}
        tokens = [self._token("sample", number) for number in range(len(card.sample_times_us))]
        self.sample_tokens = tuple(tokens)
        self._describe_scene()
        for channel in (LIDAR, *CAMERAS):
            self._describe_sensor(channel, image_size)

    def write_points(self, shot: Shot, points: Float32[np.ndarray, "N 5"]) -> None:
        """Write a LiDAR recording: x, y, z [m], intensity 0–255 and ring of each point."""
        record = self._record(LIDAR, shot, "pcd", (0, 0))
        write_whole(self._path(f"{NUSCENES_FOLDER}/{record['filename']}"), points.tobytes())
        if shot.is_key_frame:
            self._lidar[shot.sample] = record

    def write_image(self, camera: RigCamera, shot: Shot, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Write an RGB camera recording."""
        record = self._record(camera.channel, shot, "jpg", (camera.height, camera.width))
        path = self._path(f"{NUSCENES_FOLDER}/{record['filename']}")
        write_encoded(path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])

    def write_labels(self, sample: int, labels: KeyFrameLabels) -> None:
        """Write the labels of a sample after its points were written."""
        for name, volume in labels.volumes.items():
            path = self._label_path(name, sample)
            if name == "occ3d":
                arrays = {
                    "semantics": nuscenes_labels.swap_free_and_others(volume),
                    "mask_lidar": labels.mask_lidar.astype(np.uint8),
                    "mask_camera": labels.mask_camera.astype(np.uint8),
                }
                write_archive(path, arrays)
            else:
                rows = _rows(volume)
                write_array(path, rows[:, [2, 1, 0, 3]] if name == "openoccupancy" else rows)

    def _describe_scene(self) -> None:
        card, tokens = self._card, self.sample_tokens
        self.records["log"].append(
            {
                "token": self._token("log"),
                "logfile": self._log_name(),
                "vehicle": "minesim",
                "date_captured": "",
                "location": card.location,
            }
        )
        self.records["scene"].append(
            {
                "token": self._token("scene"),
                "log_token": self._token("log"),
                "nbr_samples": len(tokens),
                "first_sample_token": tokens[0],
                "last_sample_token": tokens[-1],
                "name": card.name,
                "description": card.description,
            }
        )
        before, after = ("", *tokens[:-1]), (*tokens[1:], "")
        for own, time_us, prev, following in zip(
            tokens, card.sample_times_us, before, after, strict=True
        ):
            self.records["sample"].append(
                {
                    "token": own,
                    "timestamp": time_us,
                    "prev": prev,
                    "next": following,
                    "scene_token": self._token("scene"),
                }
            )

    def _describe_sensor(self, channel: str, image_size: tuple[int, int]) -> None:
        intrinsic = RigCamera(channel, *image_size).intrinsic if channel in CAMERAS else None
        self.records["calibrated_sensor"].append(
            {
                "token": self._token(channel),
                "sensor_token": token("sensor", channel),
                **_pose(ego_from_sensor(channel)),
                "camera_intrinsic": [] if intrinsic is None else intrinsic.tolist(),
            }
        )

    def _record(self, channel: str, shot: Shot, kind: str, size: tuple[int, int]) -> Record:
        """Add a recording, linked to the previous one."""
        folder = "samples" if shot.is_key_frame else "sweeps"
        suffix = "pcd.bin" if kind == "pcd" else kind
        file = f"{folder}/{channel}/{self._log_name()}__{channel}__{shot.time_us}.{suffix}"
        own, last = self._token(file), self._last.get(channel)
        record = {
            "token": own,
            "sample_token": self.sample_tokens[shot.sample],
            "ego_pose_token": own,
            "calibrated_sensor_token": self._token(channel),
            "timestamp": shot.time_us,
            "fileformat": kind,
            "is_key_frame": shot.is_key_frame,
            "height": size[0],
            "width": size[1],
            "filename": file,
            "prev": last["token"] if last else "",
            "next": "",
        }
        if last:
            last["next"] = own
        self._last[channel] = record
        self.records["sample_data"].append(record)
        pose = _pose(self._card.global_from_world @ shot.world_from_ego)
        self.records["ego_pose"].append({"token": own, "timestamp": shot.time_us, **pose})
        return record

    def _label_path(self, benchmark: str, sample: int) -> Path:
        lidar = self._lidar[sample]
        path = nuscenes_labels.relative_path(
            benchmark,
            scene_name=self._card.name,
            scene_token=self._token("scene"),
            sample_token=self.sample_tokens[sample],
            lidar_token=lidar["token"],
            lidar_file=lidar["filename"],
        )
        return self._path(f"{nuscenes_labels.benchmark(benchmark).folder}/{path}")

    def _path(self, relative: str) -> Path:
        path = self._root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _log_name(self) -> str:
        return f"minesim-{self._card.name}"

    def _token(self, *parts: object) -> str:
        return token(self._card.seed, self._card.name, *parts)


def write_tables(folder: Path, scenes: Sequence[Mapping[str, Sequence[Record]]]) -> None:
    """Write the tables of a version.

    Args:
        folder: Folder such as ``nuscenes/v1.0-mini``; created if missing.
        scenes: Records of each scene by table.
    """
    tables = {
        name: [record for scene in scenes for record in scene[name]]
        for name in TABLES
        if name != "sensor"
    }
    tables["sensor"] = [
        {
            "token": token("sensor", channel),
            "channel": channel,
            "modality": "camera" if channel in CAMERAS else "lidar",
        }
        for channel in (*CAMERAS, LIDAR)
    ]
    for name, records in tables.items():
        write_whole(folder / f"{name}.json", json.dumps(records, indent=0))


def token(*parts: object) -> str:
    """Return a token of 32 hex digits, determined by its parts."""
    text = "/".join(map(str, parts))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _pose(matrix: Float[np.ndarray, "4 4"]) -> Record:
    """Format a pose as in the tables, with the real part of the quaternion first."""
    x, y, z, w = quaternion_xyzw(matrix[:3, :3]).tolist()
    return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}


def _rows(volume: UInt8[np.ndarray, "X Y Z"]) -> np.ndarray:
    """Return rows x, y, z, class of the voxels that are not free; others becomes noise."""
    voxels = np.argwhere(volume != FREE)
    label = volume[tuple(voxels.T)]
    label = np.where(label == NUSCENES.index("others"), _NOISE, label)
    return np.column_stack([voxels, label]).astype(np.int32)
