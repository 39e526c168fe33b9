"""Your own recordings as a data set: frames by index, read from only the requested files."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from dataset import transforms
from dataset.arrays import InputOptions
from dataset.augment.cloud import augment_cloud
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from dataset.image_decoding import EncodedImage
from dataset.lidar_depth import depth_of_points
from dataset.lidar_rays import Sweep
from dataset.neighbors import warn_of_lone_frames
from dataset.options import checked_box, restrict
from dataset.reading import Reading
from dataset.recordings.drive import FIELDS, RecordedDrive
from dataset.recordings.folders import (
    ALL,
    CLOUDS,
    IMAGES,
    Splits,
    find_recordings,
    recordings_of,
)
from dataset.sample_dataset import SampleDataset
from dataset.sweep_ages import sweep_ages_s
from utils.labels import UNSCENES3D
from utils.registry import DATASETS
from utils.shortlist import shortlist

VEHICLE_M = (-2.5, 1.0, -1.2, 1.2, -3.0, 0.3)
"""Box of your own vehicle around the LiDAR."""

logger = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame of a recording.

    Attributes:
        drive: The recording.
        number: Number of the frame in it.
    """

    drive: RecordedDrive
    number: int

    @property
    def recorded_stem(self) -> str:
        """Stem of its files."""
        return self.drive.stems[self.number]

    @property
    def stem(self) -> str:
        """Its name: recordings may have the same stems."""
        return f"{self.drive.name}-{self.recorded_stem}"

    @property
    def scene(self) -> str:
        """Name of its scene."""
        return self.drive.scene_of(self.number)


@DATASETS.register_module()
class Recordings(SampleDataset):
    """Key frames of recordings, without labels (``docs/own_data.md``).

    Points, images and the frame of the network are those that ``predict.py`` reads of a recording
    (``dataset/recording.py``), with the poses of ``poses.txt``. Stems are "NAME-STEM", with the
    name of the recording's folder. A scene is a recording, or the part between two gaps.

    Args:
        data_root: Folder of the recordings, or a recording.
        split: "train", "val", "test", or "all" for every frame of every recording, also between
            key frames.
        reading: What to read and how; its fields must be in FIELDS. Sweeps and sources are from
            the same scene and may lie between key frames.
        splits: The recordings of each split.
        key_every_s: Time between key frames [s]; 0: every frame is one.
        max_range_m: Points with x at or beyond this are dropped.
        vehicle_m: Box of your own vehicle around the LiDAR, (x, y, z) from and to [m], in the
            frame of the network. Points in it are no rays; the network does see them.

    Attributes: those of ``SampleDataset``, and
        camera_names: Those of the first recording.

    Raises:
        ValueError: If an option or a file is invalid, the split is empty or shares a recording
            with another, recordings differ in the number of cameras, or a stem of ``stems`` is not
            in the split.
        FileNotFoundError: If folders or files are missing.
    """

    measured_depth = "points"
    has_labels = False
    label_sets = (UNSCENES3D,)
    default_image_size = (384, 1280)

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        reading: Reading,
        splits: Splits,
        *,
        key_every_s: float = 0.5,
        max_range_m: float = 110.0,
        vehicle_m: tuple[float, float, float, float, float, float] = VEHICLE_M,
    ) -> None:
        super().__init__(reading)
        self._check_fields(data_root, reading.fields)
        if key_every_s < 0:
            raise ValueError(f"key_every_s must be 0 or above, got {key_every_s}")
        self._vehicle_m = checked_box("dataset.vehicle_m", vehicle_m)
        recordings = recordings_of(Path(data_root), split, splits)
        options = InputOptions(
            self.image_size, self._image_crop, max_range_m, reading.lidar_height_m
        )
        self._drives = [
            RecordedDrive(
                name,
                root,
                options,
                self._fields,
                is_posed=self._num_sweeps > 1 and "points" in self._fields,
                allow_missing=self._allow_missing,
            )
            for name, root in recordings.items()
        ]
        self._check_cameras()
        self._every_frame = [
            Frame(drive, number) for drive in self._drives for number in range(len(drive.stems))
        ]
        self._frames = self._select(split, key_every_s, reading.stems)
        self._set_frames(
            [frame.stem for frame in self._frames], [frame.scene for frame in self._frames]
        )
        logger.info("%s of '%s': %d frames of %d recordings (%s)", split, data_root, len(self),
                    len(recordings), shortlist(list(recordings), most=5))  # fmt: skip
        self._set_sources()

    @classmethod
    def may_have(cls, data_root: str | Path, field: str) -> bool:
        """Return whether a recording has the folder that a field is read from."""
        needed = {"images": IMAGES, "pixel_from_lidar": IMAGES, "points": CLOUDS}
        found = find_recordings(Path(data_root)).values()
        return field in needed and any((path / needed[field]).is_dir() for path in found)

    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a Sample field, whether or not it is loaded."""
        return [frame.stem for frame in self._frames if frame.drive.has(frame.recorded_stem, field)]

    def lidar_position_m(self, index: int) -> Float64[np.ndarray, "3"]:
        """Return the position of the LiDAR in the frame of the points [m]."""
        return self._frames[index].drive.lidar_position_m

    def _times(self) -> list[float]:
        return [float(frame.drive.times_s[frame.number]) for frame in self._frames]

    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        frame, cloud = self._frames[index], None
        if self._fields & {"points", "depth_m"}:
            cloud = frame.drive.read_cloud(frame.recorded_stem)
        return {
            **self._view_fields(frame, cloud, choices),
            **self._volume_fields(frame, cloud, choices),
        }

    def _view_fields(
        self, frame: Frame, cloud: Float32[np.ndarray, "P 4"] | None, choices: Choices
    ) -> dict[str, Any]:
        """Read the fields of the image planes."""
        found: dict[str, Any] = {}
        matrices = self._projections(frame, choices)
        if "images" in self._fields:
            pixels = self._pixels(frame, choices)
            if pixels is not None:
                images = [
                    transforms.input_pixels(image, choices, camera=number)
                    for number, image in enumerate(pixels)
                ]
                found["images"] = torch.from_numpy(np.stack(images))
        if "depth_m" in self._fields and cloud is not None:
            depths = [depth_of_points(matrix, cloud, self.image_size) for matrix in matrices]
            found["depth_m"] = torch.from_numpy(np.stack(depths))
        if "pixel_from_lidar" in self._fields:
            seen = [
                transforms.input_projection(matrix, choices, camera=number)
                for number, matrix in enumerate(matrices)
            ]
            found["pixel_from_lidar"] = torch.from_numpy(np.stack(seen)).float()
        return found

    def _volume_fields(
        self, frame: Frame, cloud: Float32[np.ndarray, "P 4"] | None, choices: Choices
    ) -> dict[str, Any]:
        """Read the fields of the volume."""
        found: dict[str, Any] = {}
        augmented_from_volume = transforms.augmented_from_recorded(choices)
        if "points" in self._fields and cloud is not None:
            points = self._with_sweeps(frame, cloud, choices)
            if not np.array_equal(augmented_from_volume, np.eye(4)):
                points = transforms.transform_cloud(augmented_from_volume, points)
            found["points"] = torch.from_numpy(points)
        if "world_from_lidar" in self._fields:
            pose = self._world_from(frame) @ np.linalg.inv(augmented_from_volume)
            found["world_from_lidar"] = torch.from_numpy(pose)
        return found

    def _with_sweeps(
        self, frame: Frame, cloud: Float32[np.ndarray, "P 4"], choices: Choices
    ) -> Float32[np.ndarray, "Q F"]:
        """Augment the points of a frame, and add those of its previous sweeps with their ages."""
        own = augment_cloud(cloud, choices.cloud, choices.stream(Stream.CLOUD, 0))
        if self._num_sweeps == 1:
            return own
        drive = frame.drive
        first = next(scene.start for scene in drive.scenes if frame.number in scene)
        numbers = range(frame.number, max(first - 1, frame.number - self._num_sweeps), -1)
        ages_s = sweep_ages_s([(drive.stems[n], float(drive.times_s[n])) for n in numbers])
        here_from_world = np.linalg.inv(self._world_from(frame))
        clouds = [np.hstack([own, np.zeros((len(own), 1), np.float32)])]
        for slot, number in enumerate(numbers[1:], start=1):
            earlier = Frame(drive, number)
            points = drive.read_cloud(earlier.recorded_stem)
            if points is None:
                continue
            points = augment_cloud(points, choices.cloud, choices.stream(Stream.CLOUD, slot))
            points = transforms.transform_cloud(here_from_world @ self._world_from(earlier), points)
            age_s = np.full((len(points), 1), ages_s[slot], np.float32)
            clouds.append(np.hstack([points, age_s]))
        return np.concatenate(clouds)

    def _pixels(self, frame: Frame, choices: Choices) -> list[UInt8[np.ndarray, "H W 3"]] | None:
        """Read the images of a frame, cropped and resized; None if there are none."""
        images = frame.drive.open_images(frame.recorded_stem)
        if images is None:
            return None
        found = []
        for image, size in zip(images, frame.drive.image_sizes, strict=True):
            window = self._image_transform(size, choices)
            if isinstance(image, EncodedImage):
                found.append(window.decoded(image))
            else:
                found.append(window.image(image))  # Black in place of a lost one.
        return found

    def _projections(self, frame: Frame, choices: Choices) -> list[Float64[np.ndarray, "4 4"]]:
        """Return the projections of a frame's own volume into its cropped and resized images."""
        drive = frame.drive
        return [
            self._image_transform(size, choices).matrix() @ matrix
            for size, matrix in zip(drive.image_sizes, drive.projections.values(), strict=False)
        ]

    def _read_depths(
        self, index: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], Float32[np.ndarray, "N H W"]]:
        frame = self._frames[index]
        cloud = frame.drive.read_cloud(frame.recorded_stem)
        assert cloud is not None, "a complete frame has a cloud"
        matrices = self._projections(frame, choices)
        depths = [depth_of_points(matrix, cloud, self.image_size) for matrix in matrices]
        return np.stack(matrices), np.stack(depths)

    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._world_from(self._frames[index])

    def _select(self, split: str, every_s: float, stems: Sequence[str] | None) -> list[Frame]:
        """Return the key frames of a split, all frames, or the requested ones."""
        if stems is not None:
            frame_of = {frame.stem: frame for frame in self._every_frame}
            return [frame_of[stem] for stem in restrict(list(frame_of), stems, split)]
        if split == ALL:
            return self._every_frame
        return [Frame(drive, number) for drive in self._drives for number in drive.keys(every_s)]

    def _find_sources(self) -> list[list[Frame]]:
        frames = self._every_frame
        scenes = [frame.scene for frame in frames]
        times = [float(frame.drive.times_s[frame.number]) for frame in frames]
        nearest = dict(zip(frames, self._nearest_sources(frames, scenes, times), strict=True))
        warn_of_lone_frames([f.stem for f in self._frames if not nearest[f]], len(self))
        return [[frame, *nearest[frame]] for frame in self._frames]

    def _world_from(self, source: Frame) -> Float64[np.ndarray, "4 4"]:
        return source.drive.world_from_lidar(source.recorded_stem)

    def _read_sweep(self, source: Frame) -> Sweep:
        points_m, is_outside = source.drive.read_surroundings(source.recorded_stem, self._vehicle_m)
        labels = self._read_point_labels(source, len(points_m))
        return Sweep(source.drive.lidar_position_m, points_m, labels).of(is_outside)

    def _point_label_path(self, source: Frame) -> Path:
        return source.drive.root / self._point_label_folder / f"{source.recorded_stem}.label"

    def _read_images(
        self, source: Frame, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], UInt8[np.ndarray, "N 3 H W"]]:
        pixels = self._pixels(source, choices)
        assert pixels is not None, "a complete frame has images"
        return np.stack(self._projections(source, choices)), np.stack(pixels).transpose(0, 3, 1, 2)

    def _mask_paths(self, index: int) -> list[Path]:
        frame = self._frames[index]
        folder = frame.drive.root / self._mask_folder
        cameras = list(frame.drive.projections)
        folders = [folder / camera for camera in cameras] if len(cameras) > 1 else [folder]
        return [path / f"{frame.recorded_stem}.png" for path in folders]

    def _recorded_sizes(self, index: int) -> list[tuple[int, int]]:
        return list(self._frames[index].drive.image_sizes)

    def _pixel_from_volume(self, index: int, choices: Choices) -> Float64[np.ndarray, "N 4 4"]:
        return np.stack(self._projections(self._frames[index], choices))

    def _check_fields(self, data_root: str | Path, fields: Sequence[str]) -> None:
        unknown = sorted(set(fields) - set(FIELDS))
        if unknown:
            raise ValueError(
                f"'{data_root}' holds recordings, which have no labels ({', '.join(unknown)}): "
                "make them with tools/make_labels.py and use a config of config/unscenes3d/ "
                "(docs/own_data.md), or train without labels (docs/label_free.md)"
            )
        if self._augmentation.takes_from_others:
            raise ValueError(
                "augmentation.mix and augmentation.paste need labels; switch them off for "
                "recordings"
            )

    def _check_cameras(self) -> None:
        """Check that all recordings have the same number of cameras, if cameras are read."""
        first = self._drives[0]
        self.camera_names = tuple(first.projections)
        for other in self._drives[1:]:
            if first.image_sizes and len(other.projections) != len(first.projections):
                raise ValueError(
                    f"expected recordings with the same number of cameras, found "
                    f"{list(first.projections)} in '{first.root}' and {list(other.projections)} "
                    f"in '{other.root}': list recordings of one rig in dataset.train and val"
                )
