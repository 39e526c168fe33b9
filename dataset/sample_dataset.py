"""SampleDataset: the base of every data set, with the reading code that they share."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from dataset import formats, transforms
from dataset.augment.ranges import Stream
from dataset.augmentation import Augmentation, Choices
from dataset.class_mapping import UNKNOWN, ClassMapping, read_mapping
from dataset.frame_dataset import FrameDataset
from dataset.lidar_rays import Sweep, lidar_rays, surfaces, voxel_classes
from dataset.lost_sensors import has_content, with_losses
from dataset.neighbors import neighbors_of, stack_views
from dataset.options import checked_crop, checked_size, checked_sweeps
from dataset.point_labels import (
    SEMANTIC_KITTI,
    PointLabels,
    check_own_files,
    labeled_sources,
    read_point_classes,
)
from dataset.reading import SUPERVISING, Reading
from dataset.sample import (
    ImageMasks,
    NeighborViews,
    Sample,
    SampleKey,
    VideoImages,
)
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet
from utils.shortlist import shortlist


class SampleDataset(FrameDataset):
    """Frames of one split, read on demand.

    A subclass finds the frames, passes them to ``_set_frames``, and reads one frame in ``_read``.

    Args:
        reading: What to read and how.

    Attributes:
        stems: Stem of each frame.
        scenes: Scene of each frame; "" where unknown.
        grid: Voxel grid of the network.
        image_size: Height and width of the images after crop and resize.
        label_set: Classes of the labels.

    Raises:
        ValueError: If an option is out of range, or labels cannot be read as the label set.
    """

    label_sets: ClassVar[tuple[LabelSet, ...]]
    """What labels can be read as, the default first."""
    default_image_size: ClassVar[tuple[int, int]]
    """Height and width of the images if ``Reading.image_size`` is None."""
    point_label_dtype: ClassVar[str] = SEMANTIC_KITTI
    """Type of a number in the files of point labels."""

    def __init__(self, reading: Reading) -> None:
        size = self.default_image_size if reading.image_size is None else reading.image_size
        self.grid = VoxelGrid.from_config(reading.grid)
        self.image_size = checked_size("image_size", size)
        self.label_set = self._find_label_set(reading.labels)
        self.stems: list[str] = []
        self.scenes: list[str] = []
        self._fields = frozenset(reading.fields)
        self._image_crop = checked_crop(reading.image_crop)
        self._num_sweeps = checked_sweeps(reading.num_sweeps)
        self._num_neighbors = reading.num_neighbors
        self._num_sources, self._num_rays = reading.num_sources, reading.num_rays
        self._source_spacing_m = reading.source_spacing_m
        self._mask_folder = reading.mask_folder
        self._point_label_folder = reading.point_labels
        self._point_mapping = self._find_point_mapping(reading.point_mapping)
        self._allow_missing = reading.allow_missing
        self._augmentation = Augmentation.from_config(reading.augmentation)
        self._seed = reading.seed
        self._neighbors: list[list[int]] = []
        self._sources: list[list[Any]] = []
        self._labeled_sources: frozenset[Any] = frozenset()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and colors, where mmengine looks for them."""
        return {"classes": self.label_set.class_names, "palette": self.label_set.colors}

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stems)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        """Read one frame; an int stands for ``SampleKey(index, epoch=0)``.

        Raises:
            ValueError: If a file is invalid, or the frame has lost all of its sensors.
            FileNotFoundError: If a file was deleted after the data set was built.
        """
        key = SampleKey.of(key, len(self))
        step_m = self._height_step_m
        choices = self._augmentation.choices(self._seed, key, height_step_m=step_m)
        found = self._read(key.index, choices)
        if "neighbors" in self._fields:
            found["neighbors"] = self._read_neighbors(key.index, choices)
        if self._fields & {"lidar_rays", "voxel_classes"}:
            found |= self._read_sweeps(key.index, choices)
        if "video" in self._fields:
            found["video"] = self._read_video(key.index, choices)
        if "masks" in self._fields:
            found["masks"] = self._read_masks(key.index, choices)
        sample = Sample(stem=self.stems[key.index], scene=self.scenes[key.index], **found)
        return with_losses(sample, self._fields, drop=self._allow_missing)

    def neighbors(self, count: int) -> list[list[int]]:
        """Return, for each frame, the nearest other frames of its scene (``neighbors_of``).

        Raises:
            ValueError: If the scene of a frame is unknown, or no scene has a second frame.
        """
        return neighbors_of(self.scenes, self._times(), count)

    def previous(self, index: int) -> int | None:
        """Return the index of the frame before, in the same scene; None if there is none."""
        scene, times = self.scenes[index], self._times()
        before = [
            other
            for other, name in enumerate(self.scenes)
            if scene and name == scene and times[other] < times[index]
        ]
        return max(before, key=times.__getitem__, default=None)

    def _find_label_set(self, name: str | None) -> LabelSet:
        known = {labels.name: labels for labels in self.label_sets}
        if name is not None and name not in known:
            raise ValueError(
                f"labels must be one of {sorted(known)} for {type(self).__name__}, got '{name}'"
            )
        return self.label_sets[0] if name is None else known[name]

    def _find_point_mapping(self, path: str | None) -> ClassMapping | None:
        """Return the classes of point labels; None if no field needs them."""
        if "voxel_classes" not in self._fields:
            return None
        if path is None:
            return ClassMapping(None, self._point_classes())
        return read_mapping(Path(path), self.label_set)

    def _point_classes(self) -> dict[int, int]:
        """Return the label of each number in the data set's point labels, ``UNKNOWN`` besides."""
        return {
            FREE: UNKNOWN,
            **{n: n for n in range(1, self.label_set.num_classes)},
            IGNORE: UNKNOWN,
        }

    @property
    def _height_step_m(self) -> float:
        """Voxel size that shifts of the volume along z are whole multiples of."""
        return self.grid.voxel_m

    @abstractmethod
    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a Sample field, whether or not it is loaded."""

    @abstractmethod
    def _times(self) -> Sequence[Any]:
        """Return a sort key for each frame that orders a scene by time."""

    @abstractmethod
    def _read(self, index: int, choices: Choices) -> dict[str, Any]:
        """Read the requested fields, except ``neighbors``."""

    @abstractmethod
    def _read_depths(
        self, index: int, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], Float32[np.ndarray, "N H W"]]:
        """Read the depth maps of a frame, for the frames that it is a neighbor of.

        Returns:
            Projections from the frame's own volume into the augmented images, and their camera
            depth [m]; 0 where unknown.
        """

    @abstractmethod
    def _world_from_volume(self, index: int) -> Float64[np.ndarray, "4 4"]:
        """Return the pose of a frame's volume, without augmentation."""

    @abstractmethod
    def _find_sources(self) -> list[list[Any]]:
        """Return, for each frame, itself and the other frames that supervise it.

        A source is whatever ``_world_from``, ``_read_sweep`` and ``_read_images`` take; frames
        outside the split, without labels, can be sources, too.
        """

    def _nearest_sources(
        self, sources: Sequence[Any], scenes: Sequence[str], times: Sequence[Any]
    ) -> list[list[Any]]:
        """Return, for each source, the nearest others of its scene at the spacing of sources."""
        positions_m = None
        if self._source_spacing_m > 0:
            positions_m = np.stack([self._world_from(source)[:3, 3] for source in sources])
        nearest = neighbors_of(
            scenes,
            times,
            self._num_sources,
            positions_m=positions_m,
            spacing_m=self._source_spacing_m,
        )
        return [[sources[other] for other in others] for others in nearest]

    @abstractmethod
    def _world_from(self, source: Any) -> Float64[np.ndarray, "4 4"]:
        """Return the pose of a source's volume."""

    @abstractmethod
    def _read_sweep(self, source: Any) -> Sweep:
        """Read the points of a source, in its own volume, with their labels if requested."""

    @abstractmethod
    def _point_label_path(self, source: Any) -> Path:
        """Return the path of the point labels of a source."""

    @abstractmethod
    def _read_images(
        self, source: Any, choices: Choices
    ) -> tuple[Float64[np.ndarray, "N 4 4"], UInt8[np.ndarray, "N 3 H W"]]:
        """Read the images of a source, cropped and resized, and their projections.

        The projections are from the source's own volume.
        """

    @abstractmethod
    def _mask_paths(self, index: int) -> list[Path]:
        """Return the paths of the masks of a frame, one for each camera."""

    @abstractmethod
    def _recorded_sizes(self, index: int) -> list[tuple[int, int]]:
        """Return the height and width of the recorded images of a frame."""

    @abstractmethod
    def _pixel_from_volume(self, index: int, choices: Choices) -> Float64[np.ndarray, "N 4 4"]:
        """Return the projections of a frame's own volume into its cropped and resized images."""

    def _set_frames(self, stems: Sequence[str], scenes: Sequence[str]) -> None:
        """Set the frames to read, and find their neighbors if requested."""
        self.stems, self.scenes = list(stems), list(scenes)
        if "neighbors" in self._fields:
            self._neighbors = self.neighbors(self._num_neighbors)
        if "masks" in self._fields:
            paths = [path for index in range(len(stems)) for path in self._mask_paths(index)]
            lacking = [str(path) for path in paths if not path.is_file()]
            if lacking:
                raise FileNotFoundError(
                    f"{len(lacking)} of {len(paths)} masks are missing: {shortlist(lacking)}. Add "
                    "them, or set model.loss.label_free.masks to None to train without classes"
                )
            check_own_files(paths, "masks")

    def _set_sources(self) -> None:
        """Find the frames that supervise others, if a field needs them, and their point labels."""
        if not self._fields & SUPERVISING:
            return
        self._sources = self._find_sources()
        if "voxel_classes" in self._fields:
            self._labeled_sources = labeled_sources(self._sources, self._point_label_path)
            paths = [self._point_label_path(source) for source in self._labeled_sources]
            check_own_files(paths, "point_labels")

    def _read_point_labels(self, source: Any, points: int) -> PointLabels | None:
        """Read the labels of the points of a source; None if it has none, or no field needs them.

        Args:
            source: The source.
            points: Number of points in the file of its cloud.
        """
        if self._point_mapping is None or source not in self._labeled_sources:
            return None
        path = self._point_label_path(source)
        return read_point_classes(path, points, self._point_mapping, self.point_label_dtype)

    def _is_lost(self, path: Path) -> bool:
        """Return whether frames may lack the file of a sensor, and it is missing or empty."""
        return self._allow_missing and not has_content(path)

    def _image_transform(
        self, recorded_size: tuple[int, int], choices: Choices
    ) -> transforms.ImageTransform:
        """Return the crop, resize and augmentation of a recorded image of this size."""
        return transforms.image_transform(recorded_size, self.image_size, self._image_crop, choices)

    def _read_neighbors(self, index: int, choices: Choices) -> NeighborViews:
        """Read the views of a frame's neighbors, augmented like the frame itself."""
        recorded_from_augmented = np.linalg.inv(transforms.augmented_from_recorded(choices))
        world_from_here = self._world_from_volume(index) @ recorded_from_augmented
        matrices, depths = [], []
        for other in self._neighbors[index]:
            pixel_from_there, depth_m = self._read_depths(other, choices)
            there_from_here = np.linalg.inv(self._world_from_volume(other)) @ world_from_here
            matrices.append(pixel_from_there @ there_from_here)
            depths.append(depth_m)
        return stack_views(
            matrices,
            depths,
            count=self._num_neighbors,
            cameras=len(self.camera_names),
            size=self.image_size,
        )

    def _read_sweeps(self, index: int, choices: Choices) -> dict[str, Any]:
        """Read the fields from the sweeps of a frame's sources, augmented like the frame itself."""
        moves = self._augmented_from_sources(index, choices)
        sweeps = surfaces(
            [
                self._read_sweep(source).moved(matrix)
                for source, matrix in zip(self._sources[index], moves, strict=True)
            ]
        )
        found: dict[str, Any] = {}
        if "lidar_rays" in self._fields:
            rng = choices.stream(Stream.RAYS, 0)
            found["lidar_rays"] = lidar_rays(sweeps, self.grid, self._num_rays, rng)
        if "voxel_classes" in self._fields:
            found["voxel_classes"] = voxel_classes(sweeps, self.grid)
        return found

    def _read_video(self, index: int, choices: Choices) -> VideoImages:
        """Read the images of a frame's sources, cropped and resized like the frame's own."""
        count, cameras = self._num_sources + 1, len(self.camera_names)
        projections = np.zeros((count, cameras, 4, 4), np.float32)
        images = np.zeros((count, cameras, 3, *self.image_size), np.uint8)
        moves = self._augmented_from_sources(index, choices)
        for slot, (source, matrix) in enumerate(zip(self._sources[index], moves, strict=True)):
            pixel_from_source, images[slot] = self._read_images(source, choices)
            projections[slot] = pixel_from_source @ np.linalg.inv(matrix)
        return VideoImages(torch.from_numpy(projections), torch.from_numpy(images))

    def _read_masks(self, index: int, choices: Choices) -> ImageMasks:
        """Read the masks of a frame's own images, cropped and resized like them."""
        labels = []
        sizes = self._recorded_sizes(index)
        for path, size in zip(self._mask_paths(index), sizes, strict=True):
            num_classes = self.label_set.num_classes
            mask = formats.read_mask(path, num_classes=num_classes, image_size=size)
            window = self._image_transform((mask.shape[0], mask.shape[1]), choices)
            labels.append(window.depth(mask))
        recorded_from_augmented = np.linalg.inv(transforms.augmented_from_recorded(choices))
        projections = self._pixel_from_volume(index, choices) @ recorded_from_augmented
        return ImageMasks(torch.from_numpy(projections).float(), torch.from_numpy(np.stack(labels)))

    def _augmented_from_sources(
        self, index: int, choices: Choices
    ) -> list[Float64[np.ndarray, "4 4"]]:
        """Return the transforms from the volumes of a frame's sources to its own, augmented."""
        augmented_from_here = transforms.augmented_from_recorded(choices)
        augmented_from_world = augmented_from_here @ np.linalg.inv(self._world_from_volume(index))
        return [augmented_from_world @ self._world_from(source) for source in self._sources[index]]
