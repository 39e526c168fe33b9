"""UnScenes3D: read the Sample of a frame, opening only the files of the requested fields."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from mmengine.logging import MMLogger

from dataset import formats, layout, transforms
from dataset.augmentation import Choices
from dataset.cloud_rule import UNSCENES3D_CLOUD
from dataset.inventory import (
    complete_stems,
    folders_of,
    path_of,
    require_files,
    require_folders,
    stems_in,
    time_order,
)
from dataset.options import checked_size, restrict
from dataset.poses import LidarPoses
from dataset.reading import Reading, SampleDataset
from dataset.splits import (
    frames_by_scene,
    load_scenes,
    scene_of_stem,
    split_frames,
    sweeps_of_frames,
)
from dataset.sweep_ages import sweep_ages_s
from utils.labels import UNSCENES3D
from utils.registry import DATASETS
from utils.shortlist import shortlist

ALL = "all"
"""The split of every frame on disk that has the files of the requested fields."""
SENSOR_FOLDERS = (layout.IMAGES, layout.CLOUDS)
"""With ``Reading.allow_missing``, a frame needs a file in one of them."""

logger = logging.getLogger(__name__)


@DATASETS.register_module()
class UnScenes3D(SampleDataset):
    """Frames of one split of a data set in the UnScenes3D layout (``docs/prepare_data.md``).

    Args:
        data_root: Folder with ``images/``, ``clouds/`` and so on.
        split: "train", "val", "test", or "all" for every frame on disk, labeled or not.
        reading: What to read and how. The grid is that of the label files, or a coarser one.
        split_source: "auto", "lists", "official" or "region" (``dataset/splits.py``).
        recorded_size: Height and width of the recorded images; needed only for pixel_from_lidar
            without images and depth_m.
        max_range_m: Points with x at or beyond this are dropped.
        intensity_max: Largest intensity that the files can hold.
        pose_rule: Meaning of Tr_velo_to_imu: "auto", "extrinsic" or "pose"
            (``dataset/poses.py``).

    Attributes: those of ``SampleDataset``; a scene is a drive.

    Raises:
        ValueError: If an option is invalid, the split is empty or overlaps another, or a stem of
            ``stems`` is not in it.
        FileNotFoundError: If folders or files are missing; counts and lists them.
    """

    camera_names = ("camera",)
    measured_depth = "depth_m"
    has_statistics = True
    label_set = UNSCENES3D
    default_image_size = (384, 1280)

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        reading: Reading,
        *,
        split_source: str = "auto",
        recorded_size: Sequence[int] | None = None,
        max_range_m: float = 110.0,
        intensity_max: float = 255.0,
        pose_rule: str = "auto",
    ) -> None:
        super().__init__(reading)
        self._root = Path(data_root)
        self._recorded_size: tuple[int, int] | None = None
        if recorded_size is not None:
            self._recorded_size = checked_size("recorded_size", recorded_size)
        if "points" not in self._fields:
            self._num_sweeps = 1
        self._max_range_m = max_range_m
        self._cloud_rule = replace(UNSCENES3D_CLOUD, intensity_max=intensity_max)
        self._pose_rule = pose_rule
        self._check_pixels()
        self._coarsening = 1
        if "occupancy" in self._fields:
            self._coarsening = self.grid.coarsening_of(layout.LABEL_GRID)

        folders = self._folders(reading.fields)
        require_folders(self._root, folders)
        any_of = SENSOR_FOLDERS if self._allow_missing else ()
        needed = [folder for folder in folders if folder not in any_of]
        scenes = load_scenes(self._root)
        if split == ALL:
            stems = reading.stems
            stems = complete_stems(self._root, needed, any_of=any_of) if stems is None else stems
        else:
            stems = self._stems_of_split(split, split_source, scenes, reading.stems)
        if not stems:
            raise ValueError(f"no frame of '{self._root}' in '{split}' has all of {folders}")
        require_files(self._root, needed, stems, any_of=any_of)
        scene_of = scene_of_stem(scenes)
        self._set_frames(stems, [scene_of.get(stem, "") for stem in stems])
        self._history = self._find_history(scene_of)
        self._poses = self._find_poses(scene_of)

    @classmethod
    def may_have(cls, data_root: str | Path, field: str) -> bool:
        """Return whether any stem has a file in each folder of a field."""
        return bool(set.intersection(*(stems_in(data_root, name) for name in folders_of([field]))))

    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a Sample field, whether or not it is loaded."""
        having = [stems_in(self._root, folder) for folder in self._folders([field])]
        return [stem for stem in self.stems if all(stem in stems for stems in having)]

    def neighbors(self, count: int) -> list[list[int]]:
        """Return, for each frame, the nearest other frames of its drive (``neighbors_of``).

        Raises:
            ValueError: If the drive of a frame is unknown, or no drive has a second frame.
        """
        without_scene = [
            stem for stem, scene in zip(self.stems, self.scenes, strict=True) if not scene
        ]
        if without_scene:
            raise ValueError(
                f"neighbors need the drive of each frame; {len(without_scene)} frames are in no "
                f"drive of {layout.IMAGESETS}/{layout.SCENE_INFO}: {shortlist(without_scene)}. "
                "Add them"
            )
        return super().neighbors(count)

    def _times(self) -> list[tuple[float, str]]:
        return [time_order(stem) for stem in self.stems]

    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        stem = self.stems[index]
        return {
            **self._view_fields(stem, choices),
            **self._volume_fields(stem, self.scenes[index], choices),
            **self._text_fields(stem),
        }

    def _view_fields(self, stem: str, choices: Choices) -> dict[str, Any]:
        """Read the fields in the image plane."""
        found: dict[str, Any] = {}
        recorded_size, image, depth_m = self._recorded_size, None, None
        if "images" in self._fields:
            path = self._path(layout.IMAGES, stem)
            image = None if self._is_lost(path) else formats.read_image(path)
            if image is not None and recorded_size not in (None, image.shape[:2]):
                raise ValueError(
                    f"{path} (frame {stem}): expected the recorded_size {recorded_size}, found "
                    f"{image.shape[:2]} (height, width). Correct the option or the image"
                )
            recorded_size = recorded_size if image is None else _size_of(image)
        if "depth_m" in self._fields:
            path = self._path(layout.DEPTHS, stem)
            depth_m = formats.read_depth_m(path, image_size=recorded_size)
            recorded_size = _size_of(depth_m)
        if recorded_size is None:
            return found
        window = self._image_transform(recorded_size, choices)
        if image is not None:
            pixels = transforms.input_pixels(image, window, choices)
            found["images"] = torch.from_numpy(pixels)[None]
        if depth_m is not None:
            found["depth_m"] = torch.from_numpy(window.depth(depth_m))[None]
        if "pixel_from_lidar" in self._fields:
            calibration = formats.read_calibration(self._path(layout.CALIBS, stem))
            matrix = transforms.input_projection(calibration.pixel_from_lidar, window, choices)
            found["pixel_from_lidar"] = torch.from_numpy(matrix).float()[None]
        return found

    def _volume_fields(self, stem: str, scene: str, choices: Choices) -> dict[str, Any]:
        """Read the fields in the LiDAR frame."""
        found: dict[str, Any] = {}
        moved = transforms.augmented_from_recorded(choices)
        is_moved = not np.array_equal(moved, np.eye(4))
        if "points" in self._fields and not self._is_lost(self._path(layout.CLOUDS, stem)):
            cloud = self._read_points(stem, scene)
            cloud = transforms.transform_cloud(moved, cloud) if is_moved else cloud
            found["points"] = torch.from_numpy(cloud)
        if "occupancy" in self._fields:
            rows = formats.read_occupancy_rows(self._path(layout.OCCUPANCY, stem))
            occupancy = formats.occupancy_from_rows(rows)
            if is_moved:
                occupancy = transforms.transform_occupancy(moved, occupancy, layout.LABEL_GRID)
            occupancy = transforms.coarsen_occupancy(occupancy, self._coarsening)
            found["occupancy"] = torch.from_numpy(occupancy)
        if "elevation_m" in self._fields:
            elevation_m = formats.read_elevation_m(self._path(layout.ELEVATION, stem))
            if is_moved:
                elevation_m = transforms.transform_elevation(moved, elevation_m)
            found["elevation_m"] = torch.from_numpy(elevation_m)
        if "world_from_lidar" in self._fields:
            pose = self._world_from_lidar(stem, scene) @ np.linalg.inv(moved)
            found["world_from_lidar"] = torch.from_numpy(pose)
        return found

    def _text_fields(self, stem: str) -> dict[str, Any]:
        """Read the fields that no augmentation changes."""
        found: dict[str, Any] = {}
        if "caption" in self._fields:
            found["caption"] = formats.read_caption(self._path(layout.CAPTIONS, stem))
        if "vehicle" in self._fields:
            path = self._path(layout.VEHICLE_INFOS, stem)
            found["vehicle"] = formats.read_vehicle_info(path).state
        return found

    def _read_depths(
        self, index: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "1 4 4"], Float32[np.ndarray, "1 H W"]]:
        stem = self.stems[index]
        depth_m = formats.read_depth_m(self._path(layout.DEPTHS, stem))
        window = self._image_transform(_size_of(depth_m), choices)
        calibration = formats.read_calibration(self._path(layout.CALIBS, stem))
        pixel_from_lidar = window.matrix() @ calibration.pixel_from_lidar
        return pixel_from_lidar[None], window.depth(depth_m)[None]

    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._world_from_lidar(self.stems[index], self.scenes[index])

    def _read_points(self, stem: str, scene: str) -> np.ndarray:
        """Read the points of a frame, with those of previous sweeps if requested."""
        if self._num_sweeps == 1:
            return self._read_cloud(stem)
        lidar_from_world = np.linalg.inv(self._world_from_lidar(stem, scene))
        sweeps = self._history[stem]
        ages_s = sweep_ages_s([self._time(sweep) for sweep in sweeps])
        clouds = []
        for sweep, age_s in zip(sweeps, ages_s, strict=True):
            cloud = self._read_cloud(sweep)
            if sweep != stem:
                now_from_then = lidar_from_world @ self._world_from_lidar(sweep, scene)
                cloud = transforms.transform_cloud(now_from_then, cloud)
            clouds.append(np.hstack([cloud, np.full((len(cloud), 1), age_s, np.float32)]))
        return np.concatenate(clouds)

    def _time(self, stem: str) -> tuple[Path, float]:
        """Return the file that states the time of a frame, and the time [s].

        It is the vehicle info, or the stem of the cloud where there is none.
        """
        path = self._path(layout.VEHICLE_INFOS, stem)
        if path.is_file():
            return path, formats.read_vehicle_info(path).stamp_s
        path = self._path(layout.CLOUDS, stem)
        try:
            return path, float(stem)
        except ValueError as error:
            raise ValueError(
                f"{path}: expected the time in seconds as the stem, because there is no "
                f"{layout.VEHICLE_INFOS}/{stem}.txt, found '{stem}'. Add that file, or set "
                "dataset.num_sweeps=1"
            ) from error

    def _read_cloud(self, stem: str) -> np.ndarray:
        cloud = formats.read_cloud(self._path(layout.CLOUDS, stem), self._cloud_rule)
        return transforms.within_range(cloud, self._max_range_m)

    def _world_from_lidar(self, stem: str, scene: str) -> np.ndarray:
        assert self._poses is not None, "poses must be set up if a field needs them"
        return self._poses.world_from_lidar(stem, scene)

    def _path(self, folder: str, stem: str) -> Path:
        return path_of(self._root, folder, stem)

    def _stems_of_split(
        self,
        split: str,
        source: str,
        scenes: Mapping[str, formats.Scene],
        stems: Sequence[str] | None,
    ) -> list[str]:
        """Return the frames of a split, or the selected ones."""
        frames = split_frames(self._root, split, source, scenes)
        if stems is None:
            MMLogger.get_current_instance().info(
                f"{split} of '{self._root}': {len(frames.stems)} frames, split by {frames.source}"
            )
        return restrict(frames.stems, stems, split)

    def _check_pixels(self) -> None:
        """Reject a projection into images of unknown size."""
        has_size = self._recorded_size is not None or self._fields & {"images", "depth_m"}
        if "pixel_from_lidar" in self._fields and not has_size:
            raise ValueError(
                "pixel_from_lidar without images and depth_m needs recorded_size=(height, width), "
                "such as (1200, 1920), because no image is read"
            )

    def _folders(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Return the folders that the fields are read from."""
        folders = list(folders_of(fields))
        if self._num_sweeps > 1 and "points" in fields:
            folders += folders_of(["world_from_lidar"])
        if self._pose_rule == "pose" and "vehicle" not in fields:
            folders = [folder for folder in folders if folder != layout.VEHICLE_INFOS]
        return tuple(dict.fromkeys(folders))

    def _find_history(self, scene_of: Mapping[str, str]) -> dict[str, list[str]]:
        """Return the clouds that make up each frame, after checking that they exist."""
        if self._num_sweeps == 1:
            return {}
        history = sweeps_of_frames(self.stems, scene_of, self._num_sweeps)
        needed = dict.fromkeys(sweep for sweeps in history.values() for sweep in sweeps)
        lost = [sweep for sweep in needed if self._is_lost(self._path(layout.CLOUDS, sweep))]
        if lost:
            logger.warning(
                "%d of %d point clouds of sweeps are missing or files of 0 bytes (%s); sweeps are "
                "accumulated without them",
                len(lost),
                len(needed),
                shortlist(lost, most=5),
            )
        for sweep in lost:
            del needed[sweep]
        require_files(self._root, self._folders(["points"]), list(needed))
        return {
            stem: [sweep for sweep in sweeps if sweep in needed] for stem, sweeps in history.items()
        }

    def _find_poses(self, scene_of: Mapping[str, str]) -> LidarPoses | None:
        """Set up the poses of the used scenes, if a field needs them."""
        if not self._fields & {"world_from_lidar", "neighbors"} and self._num_sweeps == 1:
            return None
        on_disk = stems_in(self._root, layout.CALIBS)
        scene_of = {**dict.fromkeys(self.stems, ""), **scene_of}
        used = set(self.scenes)
        readable = {s: name for s, name in scene_of.items() if s in on_disk and name in used}
        return LidarPoses(self._root, self._pose_rule, frames_by_scene(readable))


def _size_of(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
