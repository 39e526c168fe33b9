"""The RELLIS-3D data set: frames by index, read from only the files of the requested fields."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from dataset import formats, transforms
from dataset.augment.cloud import augment_cloud
from dataset.augment.parts import FrameParts
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from dataset.label_grids import labels_on_volume
from dataset.lidar_depth import depth_of_points
from dataset.lidar_rays import Sweep
from dataset.options import checked_size, restrict
from dataset.reading import SUPERVISING, Reading
from dataset.rellis3d import agreement, classes, files, labels, layout, splits
from dataset.rellis3d.agreement import LabeledFrame
from dataset.rellis3d.frame_files import POSED, FrameFiles
from dataset.rellis3d.labels import LabelFiles
from dataset.rellis3d.layout import Frame, frame_of
from dataset.rellis3d.sequences import all_frames, find_sequences
from dataset.sample_dataset import SampleDataset
from dataset.sample_fields import sample_fields
from dataset.sweep_ages import sweep_ages_s
from utils.registry import DATASETS

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
"""Fields of a Sample that RELLIS-3D provides."""
ALL = "all"
"""The split of every frame whose files are complete."""

logger = logging.getLogger(__name__)


@DATASETS.register_module()
class Rellis3D(SampleDataset):
    """Frames of one split of RELLIS-3D, with the occupancy labels of WildOcc.

    A Sample is in the frame of the Ouster with x forward, y left, z up; the files have x backward
    and y right. Stems are "SEQUENCE-NUMBER", such as "00000-000104", and a scene is a sequence.

    Args:
        data_root: Folder with ``00000/`` and the split lists (``docs/prepare_data.md``).
        split: "train", "val", "test", or "all" for every frame whose files are complete.
        reading: What to read and how; its fields must be in FIELDS. Sweeps and neighbors are from
            the same sequence, with the poses of ``poses.txt``.
        label_files: Where the label files are and how to read them.
        split_source: "lists": the published lists, which cut sequences; "sequence": 00003 is val
            and 00004 is test.
        recorded_size: Height and width of the images, which the calibration is for.
        intensity_max: The intensity in the files that becomes 1; higher ones do, too.
        min_range_m: Points nearer than this, along the ground, are on the vehicle and dropped.

    Attributes: those of ``SampleDataset``, and
        label_form: How the label files are read.

    Raises:
        ValueError: If an option is invalid, a file is corrupt, the split is empty, a stem of
            ``stems`` is not in it, or the labels disagree with the labeled points.
        FileNotFoundError: If folders or files are missing; counts and lists them.
    """

    camera_names = ("pylon_camera_node",)
    measured_depth = "points"
    label_sets = classes.LABEL_SETS
    default_image_size = (640, 1024)

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        reading: Reading,
        label_files: LabelFiles,
        *,
        split_source: str = splits.LISTS,
        recorded_size: Sequence[int] = layout.RECORDED_SIZE,
        intensity_max: float = layout.INTENSITY_MAX,
        min_range_m: float = layout.VEHICLE_M,
    ) -> None:
        super().__init__(reading)
        unknown = sorted(self._fields - set(FIELDS))
        if unknown or not self._fields:
            raise ValueError(
                f"fields must be in {FIELDS} for RELLIS-3D, got {list(reading.fields)}"
            )
        if self._augmentation.takes_from_others:
            raise ValueError(
                "augmentation.mix and augmentation.paste need the UnScenes3D layout; switch them "
                "off for RELLIS-3D"
            )
        if not intensity_max > 0:
            raise ValueError(f"intensity_max must be above 0, got {intensity_max}")
        self._root = Path(data_root)
        self._recorded_size = checked_size("recorded_size", recorded_size)
        self._intensity_max, self._min_range_m = intensity_max, min_range_m
        self.label_form = label_files.form()
        self._sequences = find_sequences(data_root)
        self._files = FrameFiles(
            self._root,
            self._sequences,
            label_files.root(self._root),
            allow_missing=self._allow_missing,
        )
        self._frames = self._select(split, split_source, reading.stems)
        self._set_frames(
            [frame.stem for frame in self._frames], [frame.sequence for frame in self._frames]
        )
        self._read_sequences()
        if "occupancy" in self._fields:
            self._check_labels()
        self._set_sources()

    @classmethod
    def may_have(cls, data_root: str | Path, field: str) -> bool:
        """Return whether a sequence has the folder or file that a field is read from."""
        needed = {
            "images": layout.IMAGES,
            "points": layout.CLOUDS,
            "pixel_from_lidar": layout.TRANSFORMS,
        }
        name = needed.get(field, "")
        return any((Path(data_root) / of / name).exists() for of in layout.SEQUENCES)

    def stems_with(self, field: str) -> list[str]:
        """Return the stems with the files of a field, which may be outside the fields to read."""
        if field not in FIELDS:
            return []
        if field == "occupancy":
            try:
                _ = self._files.label_paths
            except FileNotFoundError:
                return []
        missing = self._files.missing(self._frames, {field})
        return [frame.stem for frame in self._frames if frame not in missing]

    def _times(self) -> list[int]:
        return [frame.number for frame in self._frames]

    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        frame, cloud = self._frames[index], None
        path = self._sequences[frame.sequence].cloud_path(frame.number)
        if self._fields & {"points", "depth_m"} and not self._is_lost(path):
            cloud = self._read_cloud(frame)
        parts = self._read_view(frame, cloud, choices)
        if "points" in self._fields and cloud is not None:
            parts = replace(parts, points=self._with_sweeps(frame, cloud, choices))
        found = sample_fields(parts, choices, coarsening=1)
        volume_from_augmented = np.linalg.inv(transforms.augmented_from_recorded(choices))
        if "occupancy" in self._fields:
            occupancy = self._read_occupancy(frame, volume_from_augmented)
            found["occupancy"] = torch.from_numpy(occupancy)
        if "world_from_lidar" in self._fields:
            pose = self._world_from(frame) @ volume_from_augmented
            found["world_from_lidar"] = torch.from_numpy(pose)
        return found

    def _read_view(
        self, frame: Frame, cloud: Float32[np.ndarray, "P 4"] | None, choices: Choices
    ) -> FrameParts:
        """Read the parts in the image plane."""
        window = self._image_transform(self._recorded_size, choices)
        image = depth_m = matrix = None
        if "images" in self._fields:
            path = self._sequences[frame.sequence].image_path(frame.number)
            image = None if self._is_lost(path) else window.decoded(self._open_image(path))
        if self._fields & {"pixel_from_lidar", "depth_m"}:
            matrix = window.matrix() @ self._sequences[frame.sequence].pixel_from_lidar
        if "depth_m" in self._fields and matrix is not None and cloud is not None:
            depth_m = depth_of_points(matrix, cloud, self.image_size)
        return FrameParts(
            image=image,
            depth_m=depth_m,
            pixel_from_lidar=matrix if "pixel_from_lidar" in self._fields else None,
        )

    def _open_image(self, path: Path) -> formats.EncodedImage:
        image = formats.open_image(path)
        if image.size != self._recorded_size:
            raise ValueError(
                f"{path}: expected the recorded_size {self._recorded_size} (height, width), which "
                f"the calibration is for, found {image.size}. Copy the image again"
            )
        return image

    def _read_cloud(self, frame: Frame) -> Float32[np.ndarray, "P 4"]:
        """Read the points of a frame, without those on the vehicle."""
        path = self._sequences[frame.sequence].cloud_path(frame.number)
        points = files.read_cloud(path, self._intensity_max).points
        return points[self._is_outside(points)]

    def _is_outside(self, points: Float32[np.ndarray, "P 4"]) -> Bool[np.ndarray, " P"]:
        """Return the points that are not on the vehicle."""
        return np.asarray(np.hypot(points[:, 0], points[:, 1]) >= self._min_range_m)

    def _with_sweeps(
        self, frame: Frame, cloud: Float32[np.ndarray, "P 4"], choices: Choices
    ) -> Float32[np.ndarray, "Q F"]:
        """Augment the points of a frame, and add those of its previous sweeps with their ages."""
        sequence = self._sequences[frame.sequence]
        numbers = [frame.number]
        if self._num_sweeps > 1:
            numbers = sequence.sweeps(frame.number, self._num_sweeps)
        clouds = [cloud, *(self._read_cloud(frame._replace(number=n)) for n in numbers[1:])]
        for number, points in enumerate(clouds):
            rng = choices.stream(Stream.CLOUD, number)
            clouds[number] = augment_cloud(points, choices.cloud, rng)
        if self._num_sweeps == 1:
            return clouds[0]
        ages_s = [(numbers[0] - number) * layout.PERIOD_S for number in numbers]
        if sequence.has_times(numbers):
            times = [(sequence.image_path(n), sequence.time_s(n)) for n in numbers]
            ages_s = sweep_ages_s(times)
        for slot, number in enumerate(numbers[1:], start=1):
            here_from_world = np.linalg.inv(self._world_from(frame))
            moved = here_from_world @ sequence.world_from_lidar(number)
            clouds[slot] = transforms.transform_cloud(moved, clouds[slot])
        columns = [
            np.full((len(points), 1), age_s, np.float32)
            for points, age_s in zip(clouds, ages_s, strict=True)
        ]
        return np.hstack([np.concatenate(clouds), np.concatenate(columns)])

    def _read_occupancy(
        self, frame: Frame, volume_from_augmented: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "X Y Z"]:
        path = self._files.label_paths[frame]
        found = labels.read_labels(path, self.label_form, self.label_set)
        label_from_volume = self.label_form.label_from_lidar() @ volume_from_augmented
        return labels_on_volume(found, self.label_form.grid, self.grid, label_from_volume)

    def _read_depths(
        self, index: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "1 4 4"], Float32[np.ndarray, "1 H W"]]:
        projections = self._pixel_from_volume(index, choices)
        cloud = self._read_cloud(self._frames[index])
        return projections, depth_of_points(projections[0], cloud, self.image_size)[None]

    def _mask_paths(self, index: int) -> list[Path]:
        return [self._root / self._mask_folder / f"{self.stems[index]}.png"]

    def _recorded_sizes(self, index: int) -> list[tuple[int, int]]:
        del index
        return [self._recorded_size]

    def _pixel_from_volume(self, index: int, choices: Choices) -> Float64[np.ndarray, "1 4 4"]:
        sequence = self._sequences[self._frames[index].sequence]
        window = self._image_transform(self._recorded_size, choices)
        return (window.matrix() @ sequence.pixel_from_lidar)[None]

    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        return self._world_from(self._frames[index])

    def _find_sources(self) -> list[list[Frame]]:
        used = [self._sequences[name] for name in dict.fromkeys(self.scenes)]
        fields = self._fields & SUPERVISING
        complete = all_frames(used)
        missing = self._files.missing(complete, fields)
        complete = [frame for frame in complete if frame not in missing]
        scenes, numbers = [f.sequence for f in complete], [f.number for f in complete]
        nearest = dict(zip(complete, self._nearest_sources(complete, scenes, numbers), strict=True))
        return [[frame, *nearest[frame]] for frame in self._frames]

    def _world_from(self, source: Frame) -> Float64[np.ndarray, "4 4"]:
        return self._sequences[source.sequence].world_from_lidar(source.number)

    def _read_sweep(self, source: Frame) -> Sweep:
        path = self._sequences[source.sequence].cloud_path(source.number)
        cloud = files.read_cloud(path, self._intensity_max)
        labels = self._read_point_labels(source, cloud.num_records)
        if labels is not None:
            labels = labels.of(cloud.records)
        sweep = Sweep(np.zeros(3), cloud.points[:, :3].astype(np.float64), labels)
        return sweep.of(self._is_outside(cloud.points))

    def _point_label_path(self, source: Frame) -> Path:
        folder = self._sequences[source.sequence].root / self._point_label_folder
        return folder / f"{source.number:06d}.label"

    def _point_classes(self) -> dict[int, int]:
        return classes.point_classes(self.label_set)

    def _read_images(
        self, source: Frame, choices: Choices
    ) -> tuple[Float64[np.ndarray, "1 4 4"], UInt8[np.ndarray, "1 3 H W"]]:
        sequence = self._sequences[source.sequence]
        image = self._open_image(sequence.image_path(source.number))
        window = self._image_transform(self._recorded_size, choices)
        matrix = window.matrix() @ sequence.pixel_from_lidar
        return matrix[None], window.decoded(image).transpose(2, 0, 1)[None]

    def _select(self, split: str, source: str, stems: Sequence[str] | None) -> list[Frame]:
        """Return the frames to read, after checking that their files exist."""
        frames = all_frames(self._sequences.values())
        if split != ALL:
            is_whole = stems is None
            frames = splits.split_frames(self._root, split, source, frames, is_whole=is_whole)
        if stems is not None:
            wanted = restrict([frame.stem for frame in frames], stems, split)
            frames = [frame_of(stem) for stem in wanted]
        is_tolerant = split == ALL and stems is None
        fields = set(self._fields)
        frames = self._files.complete(frames, fields & {"occupancy"}, stems, is_tolerant=True)
        frames = self._files.complete(frames, fields & POSED, stems, is_tolerant=True)
        rest = fields - POSED - {"occupancy"}
        return self._files.complete(frames, rest, stems, is_tolerant=is_tolerant)

    def _check_labels(self) -> None:
        """Compare the labels of a few frames with their labeled points, if there are any."""
        able = [
            frame
            for frame in self._frames
            if frame.number in self._sequences[frame.sequence].point_labels
            and frame.number in self._sequences[frame.sequence].clouds
        ]
        if not able:
            logger.warning(
                "the frame and the ids of the labels in '%s' could not be checked: no frame has "
                "point labels in %s/ and a cloud", self._files.labels_root, layout.POINT_LABELS,
            )  # fmt: skip
            return
        places = np.linspace(0, len(able) - 1, min(len(able), agreement.FRAMES)).round()
        compared = [self._labeled_frame(able[place]) for place in places.astype(int)]
        form = self.label_form
        found = agreement.measure(compared, form.grid, form.more_ids)
        agreement.check(found, form, str(self._files.labels_root))

    def _labeled_frame(self, frame: Frame) -> LabeledFrame:
        sequence = self._sequences[frame.sequence]
        cloud = files.read_cloud(sequence.cloud_path(frame.number), self._intensity_max)
        ids = files.read_point_labels(sequence.point_label_path(frame.number), cloud)
        return LabeledFrame(labels.read_rows(self._files.label_paths[frame]), cloud.points, ids)

    def _read_sequences(self) -> None:
        """Read what all frames of a sequence share, so that faults are found and said once."""
        used = [self._sequences[name] for name in dict.fromkeys(self.scenes)]
        if self._fields & {"pixel_from_lidar", "depth_m", "neighbors", "video"}:
            for sequence in used:
                _ = sequence.pixel_from_lidar
        if self._num_sweeps == 1 or "points" not in self._fields:
            return
        for sequence in used:
            _ = sequence.jumps
        without = [sequence.name for sequence in used if not sequence.images]
        if without:
            logger.warning(
                "the sequences %s have no images, whose names state the times: sweeps are taken to "
                "be %g s apart", ", ".join(without), layout.PERIOD_S,
            )  # fmt: skip
