"""The nuScenes data set: samples by index, read from only the files of the requested fields."""

from collections.abc import Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from mmengine.logging import MMLogger

from dataset import transforms
from dataset.augmentation import Choices
from dataset.label_grids import labels_on_volume
from dataset.lidar_depth import depth_of_points
from dataset.lidar_rays import Sweep
from dataset.nuscenes import labels as nuscenes_labels
from dataset.nuscenes.cache import load_index
from dataset.nuscenes.frames import NuScenesFrames, missing_files
from dataset.nuscenes.index import CAMERAS, KeyFrameIndex
from dataset.nuscenes.splits import ALL, AUTO, find_version, scenes_of_split
from dataset.options import restrict
from dataset.reading import Reading
from dataset.sample_dataset import SampleDataset
from utils.labels import IGNORE, NUSCENES
from utils.registry import DATASETS
from utils.shortlist import shortlist

FIELDS = (
    "images",
    "points",
    "pixel_from_lidar",
    "occupancy",
    "depth_m",
    "world_from_lidar",
    "neighbors",
    "lidar_rays",
    "video",
    "masks",
    "voxel_classes",
)
"""Fields of a Sample that nuScenes provides."""


@DATASETS.register_module()
class NuScenes(SampleDataset):
    """Key frames of one split of nuScenes (``docs/prepare_data.md``).

    A Sample is in the frame of the network's volume, which ``frame`` selects. "lidar" in
    pixel_from_lidar and world_from_lidar means this frame:

    - "ego": the frame of the vehicle (x forward, y left, z up, on the ground under the rear axle)
      at the time of the key frame's point cloud. Occ3D labels are in this frame.
    - "lidar": the frame of LIDAR_TOP at that time, with x **right** and y forward. SurroundOcc and
      OpenOccupancy labels are in this frame.

    Each image, point cloud and pose has its own timestamp, so transforms between sensors go through
    the world, with the vehicle pose at both timestamps. A stem is a sample token, and images are in
    the order of ``dataset.nuscenes.index.CAMERAS``.

    Args:
        data_root: Folder with ``samples/``, ``sweeps/`` and the tables ``v1.0-*/``.
        split: "train", "val", "test", or "all" for every key frame whose files are complete.
        reading: What to read and how; its fields must be in FIELDS. Sweeps and neighbors are from
            the same scene, with the poses of the vehicle.
        version: Folder of the tables, or "auto": the first of v1.0-trainval, v1.0-test and
            v1.0-mini that exists and has the split. In v1.0-mini, train and val are mini_train and
            mini_val.
        frame: Frame of the volume, "ego" or "lidar".
        labels_source: Labels for ``occupancy``: "occ3d", "surroundocc" or "openoccupancy".
        labels_root: Folder of the labels; None for its usual name beside ``data_root``.
        use_mask: Whether to ignore voxels that no camera sees; Occ3D only.

    Attributes: those of ``SampleDataset``, and
        version: Folder of the tables.

    Raises:
        ValueError: If an option is invalid, a table is corrupt, the split is empty, or a stem of
            ``stems`` is not in it.
        FileNotFoundError: If tables or files are missing.
    """

    camera_names = CAMERAS
    measured_depth = "points"
    label_sets = (NUSCENES,)
    default_image_size = (256, 704)
    point_label_dtype = "u1"

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        reading: Reading,
        *,
        version: str = AUTO,
        frame: str = "ego",
        labels_source: str = "occ3d",
        labels_root: str | Path | None = None,
        use_mask: bool = False,
    ) -> None:
        super().__init__(reading)
        _check_fields(reading.fields)
        if self._augmentation.takes_from_others:
            raise ValueError(
                "augmentation.mix and augmentation.paste need the UnScenes3D layout; switch them "
                "off for nuScenes"
            )
        self._root = Path(data_root)
        self._labels_source = nuscenes_labels.benchmark(labels_source)
        self._labels_root = labels_root
        if use_mask and not self._labels_source.has_masks:
            raise ValueError(f"use_mask needs the masks of occ3d; {labels_source} has none")
        self._use_mask = use_mask

        self.version = find_version(data_root, split, version)
        index = load_index(data_root, self.version)
        self._frames = NuScenesFrames(data_root, index, frame)
        names = [name.decode() for name in index.scene_name]
        scenes = scenes_of_split(self.version, split, names, is_whole=reading.stems is None)
        self._rows = self._select(index, split, scenes, reading.stems)
        self._set_frames(
            [self._frames.stem(row) for row in self._rows],
            [self._frames.scene(row) for row in self._rows],
        )
        self._set_sources()

    def stems_with(self, field: str) -> list[str]:
        """Return the stems with the files of a field, which may be outside the fields to read."""
        if field not in FIELDS:
            return []
        files = [self._files(row, {field}) for row in self._rows]
        missing = missing_files(chain.from_iterable(files))
        return [
            stem
            for stem, needed in zip(self.stems, files, strict=True)
            if missing.isdisjoint(needed)
        ]

    def labels(
        self, index: int, benchmark: str | None = None, root: str | Path | None = None
    ) -> nuscenes_labels.OccupancyLabels:
        """Read the labels of a key frame on the grid of a benchmark.

        Args:
            index: Index of the key frame in the data set.
            benchmark: One of ``nuscenes_labels.BENCHMARKS``; None for ``labels_source`` in
                ``labels_root``.
            root: Folder of the benchmark; None for its usual name beside ``data_root``.

        Raises:
            ValueError: If the file is corrupt or of another benchmark.
            FileNotFoundError: If it is missing.
        """
        if benchmark is None:
            benchmark, root = self._labels_source.name, root or self._labels_root
        path = self._frames.label_path(self._rows[index], benchmark, root)
        return nuscenes_labels.read_labels(benchmark, path)

    def label_from_volume(
        self, index: int, benchmark: str | None = None
    ) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the volume, without augmentation, to a benchmark's labels."""
        name = self._labels_source.name if benchmark is None else benchmark
        return self._frames.label_from_volume(self._rows[index], name)

    def lidar_positions(self, index: int) -> Float64[np.ndarray, "F 3"]:
        """Return the LiDAR positions at all key frames of the scene, in order of time.

        They are in the vehicle frame of key frame ``index``, and are the ray origins of RayIoU.
        """
        return self._frames.lidar_positions(self._rows[index])

    def lidar_position_m(self, index: int) -> Float64[np.ndarray, "3"]:
        """Return the position of the LiDAR in the frame of the points [m]."""
        row = self._rows[index]
        return self._frames.volume_from_cloud(row, self._frames.lidar(row))[:3, 3]

    def _times(self) -> list[int]:
        return self._rows

    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        row = self._rows[index]
        cloud = None
        lidar = self._frames.lidar(row)
        if self._fields & {"points", "depth_m"} and not self._is_lost(self._frames.path(lidar)):
            cloud = self._frames.read_cloud(row, lidar)
        return {
            **self._view_fields(row, cloud, choices),
            **self._volume_fields(row, cloud, choices),
        }

    def _view_fields(
        self, row: int, cloud: Float32[np.ndarray, "P 4"] | None, choices: Choices
    ) -> dict[str, Any]:
        """Read the fields of the image planes."""
        images, matrices, depths = [], [], []
        cameras = self._frames.cameras(row)
        reads_images = "images" in self._fields
        reads_images &= not all(self._is_lost(self._frames.path(camera)) for camera in cameras)
        for number, camera in enumerate(cameras):
            window = self._image_transform(self._frames.image_size(camera), choices)
            pixel_from_volume = window.matrix() @ self._frames.pixel_from_volume(row, camera)
            seen = transforms.input_projection(pixel_from_volume, choices, camera=number)
            matrices.append(seen)
            if reads_images:
                image = self._read_image(camera, window)
                images.append(transforms.input_pixels(image, choices, camera=number))
            if "depth_m" in self._fields and cloud is not None:
                depths.append(depth_of_points(pixel_from_volume, cloud, self.image_size))
        found = {}
        if images:
            found["images"] = torch.from_numpy(np.stack(images))
        if depths:
            found["depth_m"] = torch.from_numpy(np.stack(depths))
        if "pixel_from_lidar" in self._fields:
            found["pixel_from_lidar"] = torch.from_numpy(np.stack(matrices)).float()
        return found

    def _read_image(
        self, camera: int, window: transforms.ImageTransform
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Read the image of a recording, cropped and resized; black if it is lost."""
        if self._is_lost(self._frames.path(camera)):
            return np.zeros((*window.size, 3), np.uint8)
        return window.decoded(self._frames.open_image(camera))

    def _volume_fields(
        self, row: int, cloud: Float32[np.ndarray, "P 4"] | None, choices: Choices
    ) -> dict[str, Any]:
        """Read the fields of the volume."""
        found: dict[str, Any] = {}
        augmented_from_volume = transforms.augmented_from_recorded(choices)
        volume_from_augmented = np.linalg.inv(augmented_from_volume)
        if "points" in self._fields and cloud is not None:
            points = self._frames.with_sweeps(row, cloud, self._num_sweeps, choices)
            if not np.array_equal(augmented_from_volume, np.eye(4)):
                points = transforms.transform_cloud(augmented_from_volume, points)
            found["points"] = torch.from_numpy(points)
        if "occupancy" in self._fields:
            occupancy = self._read_occupancy(row, volume_from_augmented)
            found["occupancy"] = torch.from_numpy(occupancy)
        if "world_from_lidar" in self._fields:
            pose = self._frames.world_from_volume(row) @ volume_from_augmented
            found["world_from_lidar"] = torch.from_numpy(pose)
        return found

    def _read_depths(
        self, index: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], Float32[np.ndarray, "N H W"]]:
        row = self._rows[index]
        cloud = self._frames.read_cloud(row, self._frames.lidar(row))
        matrices = self._pixel_from_volume(index, choices)
        depths = [depth_of_points(matrix, cloud, self.image_size) for matrix in matrices]
        return matrices, np.stack(depths)

    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._frames.world_from_volume(self._rows[index])

    def _find_sources(self) -> list[list[int]]:
        nearest = self._nearest_sources(range(len(self.stems)), self.scenes, self._times())
        return [[index, *others] for index, others in enumerate(nearest)]

    def _world_from(self, source: int) -> Float64[np.ndarray, "4 4"]:
        return self._world_from_volume(source)

    def _read_sweep(self, source: int) -> Sweep:
        row = self._rows[source]
        cloud, is_outside = self._frames.read_file(row, self._frames.lidar(row))
        labels = self._read_point_labels(source, len(cloud))
        points_m = cloud[:, :3].astype(np.float64)
        return Sweep(self.lidar_position_m(source), points_m, labels).of(is_outside)

    def _point_label_path(self, source: int) -> Path:
        name = self._frames.point_label_name(self._rows[source])
        return self._root / self._point_label_folder / self.version / name

    def _point_classes(self) -> dict[int, int]:
        return nuscenes_labels.POINT_CLASSES

    def _read_images(
        self, source: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], UInt8[np.ndarray, "N 3 H W"]]:
        images = []
        for camera in self._frames.cameras(self._rows[source]):
            window = self._image_transform(self._frames.image_size(camera), choices)
            images.append(self._read_image(camera, window).transpose(2, 0, 1))
        return self._pixel_from_volume(source, choices), np.stack(images)

    def _mask_paths(self, index: int) -> list[Path]:
        paths = map(self._frames.path, self._frames.cameras(self._rows[index]))
        root = self._root / self._mask_folder
        return [(root / path.relative_to(self._root)).with_suffix(".png") for path in paths]

    def _recorded_sizes(self, index: int) -> list[tuple[int, int]]:
        cameras = self._frames.cameras(self._rows[index])
        return [self._frames.image_size(camera) for camera in cameras]

    def _pixel_from_volume(self, index: int, choices: Choices) -> Float64[np.ndarray, "N 4 4"]:
        row, matrices = self._rows[index], []
        for camera in self._frames.cameras(row):
            window = self._image_transform(self._frames.image_size(camera), choices)
            matrices.append(window.matrix() @ self._frames.pixel_from_volume(row, camera))
        return np.stack(matrices)

    def _read_occupancy(
        self, row: int, volume_from_augmented: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "X Y Z"]:
        """Read the labels, resampled to the grid of the volume."""
        name = self._labels_source.name
        path = self._frames.label_path(row, name, self._labels_root)
        labels = nuscenes_labels.read_labels(name, path)
        occupancy = labels.occupancy
        if self._use_mask:
            assert labels.mask_camera is not None, "the constructor requires labels with masks"
            occupancy = np.where(labels.mask_camera, occupancy, np.uint8(IGNORE))
        label_from_volume = self._frames.label_from_volume(row, name) @ volume_from_augmented
        return labels_on_volume(occupancy, labels.grid, self.grid, label_from_volume)

    def _select(
        self, index: KeyFrameIndex, split: str, scenes: Sequence[str], stems: Sequence[str] | None
    ) -> list[int]:
        """Return the rows of the requested key frames, after checking their files."""
        used = set(scenes)
        row_of = {
            self._frames.stem(row): row
            for row in range(len(index.sample_token))
            if self._frames.scene(row) in used
        }
        rows = [row_of[stem] for stem in restrict(list(row_of), stems, split)]
        files = {row: self._files(row, self._fields) for row in rows}
        missing = missing_files(chain.from_iterable(files.values()))
        if self._allow_missing:
            files = {row: self._not_lost(row, needed, missing) for row, needed in files.items()}
            missing &= set(chain.from_iterable(files.values()))
        if missing and split == ALL and stems is None:
            rows = [row for row in rows if missing.isdisjoint(files[row])]
            MMLogger.get_current_instance().info(
                f"'{self._root}': {len(rows)} key frames have all files of {sorted(self._fields)}; "
                f"{len(files) - len(rows)} others are skipped"
            )
        elif missing:
            lacking = sum(not missing.isdisjoint(needed) for needed in files.values())
            raise FileNotFoundError(
                f"{lacking} of {len(rows)} key frames of '{split}' ({self.version}) lack "
                f"{len(missing)} files: {shortlist(sorted(missing), most=5)}. Unpack them "
                "(see docs/prepare_data.md), or select frames with 'stems'"
            )
        if not rows:
            raise ValueError(
                f"no key frame of '{self._root}' in '{split}' ({self.version}) has all files of "
                f"{sorted(self._fields)}"
            )
        return rows

    def _not_lost(self, row: int, needed: Sequence[Path], missing: Set[Path]) -> list[Path]:
        """Return the files that a key frame cannot lack: those of its sensors only if all do."""
        recordings = (self._frames.lidar(row), *self._frames.cameras(row))
        sensors = {self._frames.path(recording) for recording in recordings}
        return [path for path in needed if sensors <= missing or path not in sensors]

    def _files(self, row: int, fields: Set[str]) -> list[Path]:
        """Return all files needed to read some fields of a key frame."""
        frames, files = self._frames, []
        if fields & {"images", "video"}:
            files += [frames.path(camera) for camera in frames.cameras(row)]
        if "points" in fields:
            files += [frames.path(sweep) for sweep in frames.sweeps(row, self._num_sweeps)]
        elif fields & {"depth_m", "neighbors", "lidar_rays", "voxel_classes"}:
            files.append(frames.path(frames.lidar(row)))
        if "occupancy" in fields:
            files.append(frames.label_path(row, self._labels_source.name, self._labels_root))
        return files


def _check_fields(fields: Sequence[str]) -> None:
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown or not fields:
        raise ValueError(f"fields must be in {FIELDS} for nuScenes, got {list(fields)}")
