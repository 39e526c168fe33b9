"""Files of nuScenes key frames: their paths, content and the transforms between sensors.

Each recording has the vehicle pose at its own timestamp, so transforms between recordings go
through the world: camera ← vehicle at the image ← world ← vehicle at the cloud ← LiDAR.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dataset import formats, transforms
from dataset.augment.cloud import augment_cloud
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from dataset.cloud_rule import NUSCENES_CLOUD
from dataset.image_decoding import EncodedImage
from dataset.nuscenes import labels as nuscenes_labels
from dataset.nuscenes.index import LIDAR_SLOT, KeyFrameIndex
from dataset.sweep_ages import sweep_ages_s

_ROOF_M = 1.0  # Points within this distance of the LiDAR, along x and y, are on the vehicle's roof.


class NuScenesFrames:
    """Files and geometry of key frames, addressed by their row in the index.

    Args:
        data_root: Folder of the data set.
        index: Its key frames.
        frame: Frame of the network's volume at the time of the point cloud: "ego" or "lidar".

    Raises:
        ValueError: If the frame is unknown.
    """

    def __init__(self, data_root: str | Path, index: KeyFrameIndex, frame: str) -> None:
        if frame not in nuscenes_labels.FRAMES:
            raise ValueError(f"frame must be one of {nuscenes_labels.FRAMES}, got '{frame}'")
        self._root = Path(data_root)
        self._index = index
        self._frame = frame

    def stem(self, row: int) -> str:
        """Return the token of the sample."""
        return self._index.sample_token[row].decode()

    def scene(self, row: int) -> str:
        """Return the name of the scene."""
        return self._index.scene_name[self._index.sample_scene[row]].decode()

    def lidar(self, row: int) -> int:
        """Return the LiDAR recording."""
        return int(self._index.sample_recordings[row, LIDAR_SLOT])

    def cameras(self, row: int) -> list[int]:
        """Return the camera recordings, in the order of CAMERAS."""
        return self._index.sample_recordings[row, LIDAR_SLOT + 1 :].tolist()

    def sweeps(self, row: int, count: int) -> list[int]:
        """Return the LiDAR recording and those before it, at most ``count``."""
        return self._index.sweeps(row, count)

    def path(self, recording: int) -> Path:
        """Return the file of a recording."""
        return self._root / self._index.file(recording)

    def image_size(self, recording: int) -> tuple[int, int]:
        """Return the height and width of an image."""
        height, width = self._index.recording_size[recording].tolist()
        return height, width

    def age_s(self, row: int, recording: int) -> float:
        """Return the age of a recording at the time of the key frame's point cloud [s]."""
        time_us = self._index.recording_time_us
        return float(time_us[self.lidar(row)] - time_us[recording]) * 1e-6

    def label_path(self, row: int, benchmark: str, root: str | Path | None = None) -> Path:
        """Return the file of the labels.

        Args:
            row: The key frame.
            benchmark: One of ``nuscenes_labels.BENCHMARKS``.
            root: Folder of the benchmark; None for its usual name beside the data set.
        """
        folder = nuscenes_labels.benchmark(benchmark).folder
        base = self._root.absolute().parent / folder if root is None else Path(root)
        return base / nuscenes_labels.relative_path(
            benchmark,
            scene_name=self.scene(row),
            scene_token=self._index.scene_token[self._index.sample_scene[row]].decode(),
            sample_token=self.stem(row),
            lidar_token=self._index.sample_lidar_token[row].decode(),
            lidar_file=self._index.file(self.lidar(row)),
        )

    def point_label_name(self, row: int) -> str:
        """Return the name of the file of the point labels, as the LiDAR segmentation has it."""
        return f"{self._index.sample_lidar_token[row].decode()}_lidarseg.bin"

    def world_from_volume(self, row: int) -> Float64[np.ndarray, "4 4"]:
        """Return the pose of the volume."""
        return self._index.world_from_ego(self.lidar(row)) @ self._ego_from(row, self._frame)

    def volume_from_cloud(self, row: int, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the LiDAR at one of its recordings to the volume."""
        ego_from_sensor = self._index.ego_from_sensor(recording)
        if recording == self.lidar(row):
            return np.linalg.inv(self._ego_from(row, self._frame)) @ ego_from_sensor
        world_from_sensor = self._index.world_from_ego(recording) @ ego_from_sensor
        return np.linalg.inv(self.world_from_volume(row)) @ world_from_sensor

    def pixel_from_volume(self, row: int, recording: int) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the volume to the pixels of a recorded image."""
        index = self._index
        world_from_cam = index.world_from_ego(recording) @ index.ego_from_sensor(recording)
        cam_from_volume = np.linalg.inv(world_from_cam) @ self.world_from_volume(row)
        return index.pixel_from_sensor(recording) @ cam_from_volume

    def open_image(self, camera: int) -> EncodedImage:
        """Read the image of a recording, without decoding it yet.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is corrupt, or its size differs from the tables.
        """
        path, size = self.path(camera), self.image_size(camera)
        image = formats.open_image(path)
        if image.size != size:
            raise ValueError(
                f"{path}: expected {size} (height, width) as in sample_data.json, got "
                f"{image.size}. The calibration needs the recorded size: copy the file again"
            )
        return image

    def read_cloud(self, row: int, recording: int) -> Float32[np.ndarray, "P 4"]:
        """Read the points of a recording in the volume of a key frame, without the vehicle's roof.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is corrupt.
        """
        cloud, is_outside = self.read_file(row, recording)
        return cloud[is_outside]

    def read_file(
        self, row: int, recording: int
    ) -> tuple[Float32[np.ndarray, "P 4"], Bool[np.ndarray, " P"]]:
        """Read all points of a recording in the volume of a key frame, in the file's order.

        Returns:
            The points, and which are not on the vehicle's roof.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is corrupt.
        """
        cloud = formats.read_cloud(self.path(recording), NUSCENES_CLOUD)
        is_roof = (np.abs(cloud[:, :2]) < _ROOF_M).all(axis=1)
        return transforms.transform_cloud(self.volume_from_cloud(row, recording), cloud), ~is_roof

    def with_sweeps(
        self, row: int, cloud: Float32[np.ndarray, "P 4"], count: int, choices: Choices
    ) -> Float32[np.ndarray, "Q F"]:
        """Add the points of earlier sweeps to the point cloud of a key frame, and augment each.

        Args:
            row: The key frame.
            cloud: Its own points.
            count: Maximum number of point clouds, including its own.
            choices: The values drawn for the key frame.

        Returns:
            For a count of 1 the cloud with four columns; otherwise with a fifth, the age [s].

        Raises:
            FileNotFoundError: If a point cloud is missing.
            ValueError: If a point cloud is corrupt, or its age is implausible.
        """
        sweeps = self.sweeps(row, count)
        clouds = [cloud, *(self.read_cloud(row, sweep) for sweep in sweeps[1:])]
        for number, sweep in enumerate(sweeps):
            sensor_from_volume = np.linalg.inv(self.volume_from_cloud(row, sweep))
            rng = choices.stream(Stream.CLOUD, number)
            clouds[number] = augment_cloud(clouds[number], choices.cloud, rng, sensor_from_volume)
        if count == 1:
            return clouds[0]
        ages_s = sweep_ages_s([(self.path(sweep), -self.age_s(row, sweep)) for sweep in sweeps])
        columns = [
            np.full((len(part), 1), age_s, np.float32)
            for part, age_s in zip(clouds, ages_s, strict=True)
        ]
        return np.hstack([np.concatenate(clouds), np.concatenate(columns)])

    def label_from_volume(self, row: int, benchmark: str) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the volume to a benchmark's labels."""
        frame = nuscenes_labels.benchmark(benchmark).frame
        if frame == self._frame:
            return np.eye(4)
        return np.linalg.inv(self._ego_from(row, frame)) @ self._ego_from(row, self._frame)

    def lidar_positions(self, row: int) -> Float64[np.ndarray, "F 3"]:
        """Return the LiDAR positions at all key frames of the scene, in the vehicle frame."""
        index = self._index
        recordings = index.sample_recordings[index.sample_scene == index.sample_scene[row]]
        recordings = recordings[:, LIDAR_SLOT]
        order = np.argsort(index.recording_time_us[recordings])
        ego_from_world = np.linalg.inv(index.world_from_ego(self.lidar(row)))
        poses = [
            ego_from_world @ index.world_from_ego(recording) @ index.ego_from_sensor(recording)
            for recording in recordings[order].tolist()
        ]
        return np.stack(poses)[:, :3, 3]

    def _ego_from(self, row: int, frame: str) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from a frame to the vehicle, at the time of the point cloud."""
        return np.eye(4) if frame == "ego" else self._index.ego_from_sensor(self.lidar(row))


def missing_files(paths: Iterable[Path]) -> set[Path]:
    """Return the missing files, with one directory listing per folder."""
    names = defaultdict(set)
    for path in paths:
        folder, _, name = os.fspath(path).rpartition("/")
        names[folder].add(name)
    missing = set()
    for folder, wanted in names.items():
        try:
            with os.scandir(folder) as entries:
                # Opening a named pipe would wait forever.
                wanted.difference_update(entry.name for entry in entries if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            pass  # All of its files are missing.
        missing |= {Path(folder) / name for name in wanted}
    return missing
