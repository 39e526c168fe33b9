"""The files of nuScenes' key frames: where they are, what they hold, how sensors see one another.

Every recording has a pose of the vehicle of its own time. Whatever goes from one recording to
another goes through the world: camera ← vehicle then ← world ← vehicle now ← LiDAR.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dataset import formats, transforms
from dataset.nuscenes import labels as nuscenes_labels
from dataset.nuscenes.index import LIDAR_SLOT, KeyFrameIndex

_CLOUD_COLUMNS = 5  # x, y, z, intensity, ring.
_OWN_VEHICLE_M = 1.0  # Returns from within this of the LiDAR, along x and y, are of its own roof.


class NuScenesFrames:
    """Files and geometry of key frames, which are named by their row in the index.

    Args:
        data_root: The data set.
        index: Its key frames.
        frame: Frame of the network's volume at the time of the LiDAR's cloud: "ego" or "lidar".

    Raises:
        ValueError: If the frame is unknown.
    """

    def __init__(self, data_root: str | Path, index: KeyFrameIndex, frame: str) -> None:
        if frame not in nuscenes_labels.FRAMES:
            raise ValueError(f"frame is one of {nuscenes_labels.FRAMES}, got '{frame}'")
        self._root = Path(data_root)
        self._index = index
        self._frame = frame

    def stem(self, row: int) -> str:
        """Token of the sample."""
        return self._index.sample_token[row].decode()

    def scene(self, row: int) -> str:
        """Name of its scene."""
        return self._index.scene_name[self._index.sample_scene[row]].decode()

    def lidar(self, row: int) -> int:
        """Its LiDAR recording."""
        return int(self._index.sample_recordings[row, LIDAR_SLOT])

    def cameras(self, row: int) -> list[int]:
        """Its camera recordings, in the order of CAMERAS."""
        return self._index.sample_recordings[row, LIDAR_SLOT + 1 :].tolist()

    def sweeps(self, row: int, count: int) -> list[int]:
        """Its LiDAR recording and those before it, ``count`` at most."""
        return self._index.sweeps(row, count)

    def path(self, recording: int) -> Path:
        """File of a recording."""
        return self._root / self._index.file(recording)

    def image_size(self, recording: int) -> tuple[int, int]:
        """Height and width of a camera's recording."""
        height, width = self._index.recording_size[recording].tolist()
        return height, width

    def age_s(self, row: int, recording: int) -> float:
        """How long before the key frame's cloud a recording was made [s]."""
        time_us = self._index.recording_time_us
        return float(time_us[self.lidar(row)] - time_us[recording]) * 1e-6

    def label_path(self, row: int, benchmark: str, root: str | Path | None = None) -> Path:
        """File of its labels.

        Args:
            row: The key frame.
            benchmark: One of ``nuscenes_labels.BENCHMARKS``.
            root: The benchmark's folder; None for its usual name beside the data set.
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

    def world_from_volume(self, row: int) -> Float64[np.ndarray, "4 4"]:
        """Pose of the volume."""
        return self._index.world_from_ego(self.lidar(row)) @ self._ego_from(row, self._frame)

    def volume_from_cloud(self, row: int, recording: int) -> Float64[np.ndarray, "4 4"]:
        """From the LiDAR's frame at the time of one of its recordings to the volume."""
        ego_from_sensor = self._index.ego_from_sensor(recording)
        if recording == self.lidar(row):
            return np.linalg.inv(self._ego_from(row, self._frame)) @ ego_from_sensor
        world_from_sensor = self._index.world_from_ego(recording) @ ego_from_sensor
        return np.linalg.inv(self.world_from_volume(row)) @ world_from_sensor

    def pixel_from_volume(self, row: int, recording: int) -> Float64[np.ndarray, "4 4"]:
        """From the volume to the recorded image of a camera, at the time of that image."""
        index = self._index
        world_from_cam = index.world_from_ego(recording) @ index.ego_from_sensor(recording)
        cam_from_volume = np.linalg.inv(world_from_cam) @ self.world_from_volume(row)
        return index.pixel_from_sensor(recording) @ cam_from_volume

    def read_image(self, camera: int) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of a camera's recording.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged, or of another size than the tables say.
        """
        path, size = self.path(camera), self.image_size(camera)
        image = formats.read_image(path)
        if image.shape[:2] != size:
            raise ValueError(
                f"{path}: expected {size} (height, width) as sample_data.json says, found "
                f"{image.shape[:2]}. The calibration is of the recorded size: copy the file again"
            )
        return image

    def read_cloud(self, row: int, recording: int) -> Float32[np.ndarray, "P 4"]:
        """A recording's returns in the volume of a key frame, without those of the own roof.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged.
        """
        cloud = formats.read_cloud(self.path(recording), columns=_CLOUD_COLUMNS)[:, :4]
        is_own = (np.abs(cloud[:, :2]) < _OWN_VEHICLE_M).all(axis=1)
        return transforms.transform_cloud(self.volume_from_cloud(row, recording), cloud[~is_own])

    def with_sweeps(
        self, row: int, cloud: Float32[np.ndarray, "P 4"], count: int
    ) -> Float32[np.ndarray, "Q F"]:
        """A key frame's returns with those of the sweeps before it.

        Args:
            row: The key frame.
            cloud: Its own returns.
            count: Clouds to put together, its own included, where the scene has as many.

        Returns:
            The cloud itself for a count of 1; else with a fifth column, the age [s].

        Raises:
            FileNotFoundError: If a cloud is not there.
            ValueError: If one is damaged.
        """
        if count == 1:
            return cloud
        key, *before = self.sweeps(row, count)
        clouds = [cloud, *(self.read_cloud(row, recording) for recording in before)]
        ages_s = [
            np.full((len(part), 1), self.age_s(row, recording), np.float32)
            for part, recording in zip(clouds, (key, *before), strict=True)
        ]
        return np.hstack([np.concatenate(clouds), np.concatenate(ages_s)])

    def label_from_volume(self, row: int, benchmark: str) -> Float64[np.ndarray, "4 4"]:
        """From the volume's frame to that of a benchmark's labels."""
        frame = nuscenes_labels.benchmark(benchmark).frame
        if frame == self._frame:
            return np.eye(4)
        return np.linalg.inv(self._ego_from(row, frame)) @ self._ego_from(row, self._frame)

    def lidar_positions(self, row: int) -> Float64[np.ndarray, "F 3"]:
        """Where the LiDAR is at all key frames of its scene, in order, in the vehicle's frame."""
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
        """From a frame at the time of the LiDAR's cloud to the vehicle's."""
        return np.eye(4) if frame == "ego" else self._index.ego_from_sensor(self.lidar(row))


def missing_files(paths: Iterable[Path]) -> set[Path]:
    """Those that are not there, told from one listing of each folder."""
    names = defaultdict(set)
    for path in paths:
        folder, _, name = os.fspath(path).rpartition("/")
        names[folder].add(name)
    missing = set()
    for folder, wanted in names.items():
        try:
            with os.scandir(folder) as entries:
                wanted.difference_update(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            pass  # Then none of them is there.
        missing |= {Path(folder) / name for name in wanted}
    return missing
