"""UnScenes3D: read the Sample of a frame, opening only the files of the requested fields."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from mmengine.logging import MMLogger

from dataset import formats, layout, transforms
from dataset.augment.parts import FrameParts
from dataset.augmentation import Choices
from dataset.class_counts import frame_class_counts
from dataset.cloud_rule import UNSCENES3D_CLOUD
from dataset.frame_clouds import FrameClouds
from dataset.inventory import (
    complete_stems,
    folders_of,
    path_of,
    require_files,
    require_folders,
    stems_in,
    time_order,
)
from dataset.lidar_rays import Sweep
from dataset.neighbors import warn_of_lone_frames
from dataset.options import checked_size, restrict
from dataset.other_frames import OtherFrames, check_fields, frames_with
from dataset.poses import LidarPoses
from dataset.reading import SUPERVISING, Reading
from dataset.sample_dataset import SampleDataset
from dataset.sample_fields import sample_fields
from dataset.scene_files import Scene
from dataset.splits import (
    frames_by_scene,
    load_scenes,
    scene_of_stem,
    split_frames,
    sweeps_of_frames,
)
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
    label_sets = (UNSCENES3D,)
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
        self._pose_rule = pose_rule
        self._check_pixels()
        self._coarsening = 1
        if "occupancy" in self._fields:
            self._coarsening = self.grid.coarsening_of(layout.LABEL_GRID)

        folders = self._folders(reading.fields)
        require_folders(self._root, folders)
        scenes = load_scenes(self._root)
        stems = self._select(folders, split, split_source, scenes, reading.stems)
        scene_of = scene_of_stem(scenes)
        self._set_frames(stems, [scene_of.get(stem, "") for stem in stems])
        self._clouds = FrameClouds(
            self._root,
            replace(UNSCENES3D_CLOUD, intensity_max=intensity_max),
            max_range_m,
            self._find_history(scene_of),
            self._world_from_lidar,
        )
        self._scene_of = scene_of
        self._poses = self._find_poses(scene_of)
        self._set_sources()
        self._others = self._find_others(split)

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
        self._require_drives("neighbors need")
        return super().neighbors(count)

    def _require_drives(self, need: str) -> None:
        """Check that the drive of each frame is known."""
        without_scene = [
            stem for stem, scene in zip(self.stems, self.scenes, strict=True) if not scene
        ]
        if without_scene:
            raise ValueError(
                f"{need} the drive of each frame; {len(without_scene)} frames are in no drive of "
                f"{layout.IMAGESETS}/{layout.SCENE_INFO}: {shortlist(without_scene)}. Add them"
            )

    @property
    def _height_step_m(self) -> float:
        return layout.LABEL_GRID.voxel_m

    def _times(self) -> list[tuple[float, str]]:
        return [time_order(stem) for stem in self.stems]

    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        stem = self.stems[index]
        parts = self._read_parts(index, choices)
        if self._others is not None:
            parts = self._others.take_over(index, parts, choices)
        found = sample_fields(parts, choices, coarsening=self._coarsening)
        if "world_from_lidar" in self._fields:
            recorded_from_augmented = np.linalg.inv(transforms.augmented_from_recorded(choices))
            pose = self._world_from_volume(index) @ recorded_from_augmented
            found["world_from_lidar"] = torch.from_numpy(pose)
        return {**found, **self._text_fields(stem)}

    def _read_parts(self, index: int, choices: Choices) -> FrameParts:
        """Read a frame, with its image cropped and resized and its LiDAR augmented."""
        stem = self.stems[index]
        points = occupancy = elevation_m = None
        if "points" in self._fields and not self._is_lost(self._path(layout.CLOUDS, stem)):
            points = self._clouds.read(stem, self.scenes[index], choices)
        if "occupancy" in self._fields:
            rows = formats.read_occupancy_rows(self._path(layout.OCCUPANCY, stem))
            occupancy = formats.occupancy_from_rows(rows)
        if "elevation_m" in self._fields:
            elevation_m = formats.read_elevation_m(self._path(layout.ELEVATION, stem))
        view = self._read_view(stem, choices)
        return replace(view, points=points, occupancy=occupancy, elevation_m=elevation_m)

    def _read_view(self, stem: str, choices: Choices) -> FrameParts:
        """Read the parts in the image plane."""
        recorded_size, image, depth = self._recorded_size, None, None
        if "images" in self._fields:
            path = self._path(layout.IMAGES, stem)
            image = None if self._is_lost(path) else formats.open_image(path)
            if image is not None and recorded_size not in (None, image.size):
                raise ValueError(
                    f"{path} (frame {stem}): expected the recorded_size {recorded_size}, found "
                    f"{image.size} (height, width). Correct the option or the image"
                )
            recorded_size = recorded_size if image is None else image.size
        if "depth_m" in self._fields:
            path = self._path(layout.DEPTHS, stem)
            depth = formats.read_depth_units(path, image_size=recorded_size)
            recorded_size = _size_of(depth)
        if recorded_size is None:
            return FrameParts()
        window = self._image_transform(recorded_size, choices)
        matrix = None
        if "pixel_from_lidar" in self._fields:
            matrix = window.matrix() @ self._read_projection(stem)
        return FrameParts(
            image=None if image is None else window.decoded(image),
            depth_m=None if depth is None else formats.depth_from_units(window.depth(depth)),
            pixel_from_lidar=matrix,
        )

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
        depth = formats.read_depth_units(self._path(layout.DEPTHS, stem))
        window = self._image_transform(_size_of(depth), choices)
        pixel_from_lidar = window.matrix() @ self._read_projection(stem)
        return pixel_from_lidar[None], formats.depth_from_units(window.depth(depth))[None]

    def _projection_of(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._read_projection(self.stems[index])

    def _read_projection(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        return formats.read_calibration(self._path(layout.CALIBS, stem)).pixel_from_lidar

    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._world_from_lidar(self.stems[index], self.scenes[index])

    def _world_from_lidar(self, stem: str, scene: str) -> np.ndarray:
        assert self._poses is not None, "poses must be set up if a field needs them"
        return self._poses.world_from_lidar(stem, scene)

    def _find_sources(self) -> list[list[str]]:
        self._require_drives("training without labels needs")
        folders = self._folders(sorted(self._fields & SUPERVISING))
        used = set(self.scenes)
        complete = [
            stem for stem in complete_stems(self._root, folders) if self._scene_of.get(stem) in used
        ]
        scenes = [self._scene_of[stem] for stem in complete]
        times = [time_order(stem) for stem in complete]
        nearest = dict(zip(complete, self._nearest_sources(complete, scenes, times), strict=True))
        warn_of_lone_frames([stem for stem in self.stems if not nearest[stem]], len(self.stems))
        return [[stem, *nearest[stem]] for stem in self.stems]

    def _world_from(self, source: str) -> Float64[np.ndarray, "4 4"]:
        return self._world_from_lidar(source, self._scene_of[source])

    def _read_sweep(self, source: str) -> Sweep:
        points_m = self._clouds.read_file(source)[:, :3].astype(np.float64)
        labels = self._read_point_labels(source, len(points_m))
        return Sweep(np.zeros(3), points_m, labels).of(points_m[:, 0] < self._clouds.max_range_m)

    def _point_label_path(self, source: str) -> Path:
        return self._root / self._point_label_folder / f"{source}.label"

    def _read_images(
        self, source: str, choices: Choices
    ) -> tuple[Float64[np.ndarray, "1 4 4"], UInt8[np.ndarray, "1 3 H W"]]:
        image = formats.open_image(self._path(layout.IMAGES, source))
        window = self._image_transform(image.size, choices)
        pixel_from_lidar = window.matrix() @ self._read_projection(source)
        return pixel_from_lidar[None], window.decoded(image).transpose(2, 0, 1)[None]

    def _mask_paths(self, index: int) -> list[Path]:
        return [self._root / self._mask_folder / f"{self.stems[index]}.png"]

    def _recorded_sizes(self, index: int) -> list[tuple[int, int]]:
        return [formats.open_image(self._path(layout.IMAGES, self.stems[index])).size]

    def _pixel_from_volume(self, index: int, choices: Choices) -> Float64[np.ndarray, "1 4 4"]:
        (size,) = self._recorded_sizes(index)
        window = self._image_transform(size, choices)
        return (window.matrix() @ self._read_projection(self.stems[index]))[None]

    def _path(self, folder: str, stem: str) -> Path:
        return path_of(self._root, folder, stem)

    def _select(
        self,
        folders: Sequence[str],
        split: str,
        source: str,
        scenes: Mapping[str, Scene],
        stems: Sequence[str] | None,
    ) -> list[str]:
        """Return the frames to read, after checking that their files exist."""
        any_of = SENSOR_FOLDERS if self._allow_missing else ()
        needed = [folder for folder in folders if folder not in any_of]
        if split != ALL:
            chosen = self._stems_of_split(split, source, scenes, stems)
        elif stems is not None:
            chosen = list(stems)
        else:
            chosen = complete_stems(self._root, needed, any_of=any_of)
        if not chosen:
            raise ValueError(f"no frame of '{self._root}' in '{split}' has all of {folders}")
        require_files(self._root, needed, chosen, any_of=any_of)
        return chosen

    def _stems_of_split(
        self,
        split: str,
        source: str,
        scenes: Mapping[str, Scene],
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

    def _find_others(self, split: str) -> OtherFrames | None:
        """Set up the frames that the augmentation takes parts from, if it does."""
        if not self._augmentation.takes_from_others:
            return None
        check_fields(self._fields)
        paste, frames_of = self._augmentation.paste, {}
        if paste.objects:
            counts = frame_class_counts(self._root, self.stems, split)
            frames_of = frames_with(counts, paste.classes, UNSCENES3D)
        projection_of = self._projection_of if "pixel_from_lidar" in self._fields else None
        return OtherFrames(self._read_parts, projection_of, len(self), frames_of)

    def _find_poses(self, scene_of: Mapping[str, str]) -> LidarPoses | None:
        """Set up the poses of the used scenes, if a field needs them."""
        posed = {"world_from_lidar", "neighbors", *SUPERVISING}
        if not self._fields & posed and self._num_sweeps == 1:
            return None
        on_disk = stems_in(self._root, layout.CALIBS)
        scene_of = {**dict.fromkeys(self.stems, ""), **scene_of}
        used = set(self.scenes)
        readable = {s: name for s, name in scene_of.items() if s in on_disk and name in used}
        return LidarPoses(self._root, self._pose_rule, frames_by_scene(readable))


def _size_of(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
