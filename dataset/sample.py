"""Sample: the data of one frame, read from files; Batch: several Samples, stacked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class SampleKey:
    """What a sampler requests from a data set: a frame in one epoch.

    Attributes:
        index: Index of the frame in the data set.
        epoch: Epoch, from 0. The augmentation depends only on the epoch and the index, not on the
            worker or on earlier samples.
        repeat: Number of earlier draws of the frame in the epoch; each is augmented for itself.
    """

    index: int
    epoch: int = 0
    repeat: int = 0

    @classmethod
    def of(cls, key: "int | SampleKey", frames: int) -> "SampleKey":
        """Return the key with a nonnegative index.

        Args:
            key: A key, or the index of a frame in epoch 0. A negative index counts from the end.
            frames: Length of the data set.

        Raises:
            IndexError: If the index is out of range.
        """
        key = key if isinstance(key, SampleKey) else SampleKey(int(key))
        return cls(range(frames)[key.index], key.epoch, key.repeat)


class Loss(Enum):
    """What a frame lacks, in the words of messages."""

    NO_IMAGE = "the image is missing or a file of 0 bytes"
    BLANK_IMAGE = "the image has a single color"
    SOME_IMAGES = "some of the cameras have no image, or one of a single color"
    NO_CLOUD = "the point cloud is missing or a file of 0 bytes"
    NO_POINTS = "the point cloud has no points in range"


@dataclass
class VehicleState:
    """Motion of the vehicle at one frame, in its body frame.

    Attributes:
        velocity_mps: Velocity (x, y, z) [m/s].
        acceleration_mps2: Acceleration (x, y, z) [m/s²].
    """

    velocity_mps: tuple[float, float, float]
    acceleration_mps2: tuple[float, float, float]


class NeighborViews(NamedTuple):
    """Views from K other frames of the scene, nearest in time first.

    Attributes:
        pixel_from_lidar: Projections from this frame's LiDAR coordinates, through the world, into
            the images of each neighbor; as ``Sample.pixel_from_lidar``.
        depth_m: Measured camera depth of each pixel of the neighbor [m]; 0 where unknown, and
            all 0 for neighbors that the scene does not have.
    """

    pixel_from_lidar: Float[Tensor, "*batch K N 4 4"]
    depth_m: Float[Tensor, "*batch K N H W"]


class LidarRays(NamedTuple):
    """Rays of LiDAR points, from the frame's own sweep and those of frames nearby.

    Attributes:
        origins_m: Position of the sensor, in the frame's LiDAR coordinates.
        ends_m: The point that ends each ray.
        is_own: Whether the ray is of the frame's own sweep.
        has_point: Voxels of the grid that hold a point of any of these sweeps, drawn as a ray or
            not.
    """

    origins_m: Float[Tensor, "*batch R 3"]
    ends_m: Float[Tensor, "*batch R 3"]
    is_own: Bool[Tensor, "*batch R"]
    has_point: Bool[Tensor, "*batch X Y Z"]


class VideoImages(NamedTuple):
    """Images of the frame itself, then of K − 1 other frames of the scene, nearest in time first.

    Attributes:
        pixel_from_lidar: Projections from the frame's own LiDAR coordinates, through the world;
            all 0, so that nothing is in view, for frames that the scene does not have.
        images: RGB, 0–255, without the augmentation of colors that the network's input has.
    """

    pixel_from_lidar: Float[Tensor, "*batch K N 4 4"]
    images: UInt8[Tensor, "*batch K N 3 H W"]


class ImageMasks(NamedTuple):
    """Classes of the pixels of a frame's own images.

    Attributes:
        pixel_from_lidar: Projections from the frame's own LiDAR coordinates.
        labels: Label of each pixel; free and ignored ones say nothing.
    """

    pixel_from_lidar: Float[Tensor, "*batch N 4 4"]
    labels: UInt8[Tensor, "*batch N H W"]


@dataclass
class Sample:
    """One frame. Fields that were not requested are None, and their files are not read.

    Frames: LiDAR x forward, y left, z up. After a volume augmentation "LiDAR" means the augmented
    frame in every field; after an image augmentation "pixel" means the augmented image.

    Attributes:
        stem: Name of the frame's files, a time in seconds, kept as text.
        scene: Name of the frame's drive; "" if unknown.
        images: RGB of the N cameras, 0–255.
        points: x, y, z [m], intensity 0–1, and age [s] if sweeps are accumulated; LiDAR frame.
        pixel_from_lidar: Maps (x, y, z, 1) to (u·d, v·d, d, 1): d is the camera depth [m], pixel
            centers are at integer + 0.5.
        occupancy: Label of each voxel of the configured grid; 0 free, 255 ignored.
        depth_m: Camera depth of each pixel [m]; 0 where unknown.
        elevation_m: Mean height of each cell of the elevation region in the LiDAR frame [m]; NaN
            where unknown. Row 0 is the far end, column 0 the left.
        world_from_lidar: Pose of the LiDAR; float64, as world coordinates can be millions of
            meters.
        caption: One or two sentences about the frame as recorded.
        vehicle: Velocity and acceleration as recorded.
        neighbors: Views of other frames of the scene.
        lidar_rays: Rays that supervise training without labels.
        video: Images that supervise training without labels.
        masks: Classes of pixels that supervise training without labels.
        voxel_classes: Class of most labeled points in each voxel, 0 without any; they supervise
            training without labels.
        lost: What the requested sensors lack (``dataset/lost_sensors.py``).
    """

    stem: str
    scene: str = ""
    images: UInt8[Tensor, "N 3 H W"] | None = None
    points: Float[Tensor, "P F"] | None = None
    pixel_from_lidar: Float[Tensor, "N 4 4"] | None = None
    occupancy: UInt8[Tensor, "X Y Z"] | None = None
    depth_m: Float[Tensor, "N H W"] | None = None
    elevation_m: Float[Tensor, "rows cols"] | None = None
    world_from_lidar: Float[Tensor, "4 4"] | None = None
    caption: str | None = None
    vehicle: VehicleState | None = None
    neighbors: NeighborViews | None = None
    lidar_rays: LidarRays | None = None
    video: VideoImages | None = None
    masks: ImageMasks | None = None
    voxel_classes: UInt8[Tensor, "X Y Z"] | None = None
    lost: tuple[Loss, ...] = ()


@dataclass
class Batch:
    """Stacked samples. Points stay a list, because their number differs between frames.

    Attributes: those of ``Sample``, stacked along a first axis B; ``None`` if no sample has the
    field; and
        sensors: What each frame is predicted from, "both", "camera" or "lidar"; None: all that the
            network reads. A frame has black images or no points of a sensor that it has lost.
    """

    stems: list[str]
    scenes: list[str]
    images: UInt8[Tensor, "B N 3 H W"] | None = None
    points: list[Float[Tensor, "_ F"]] | None = None
    pixel_from_lidar: Float[Tensor, "B N 4 4"] | None = None
    occupancy: UInt8[Tensor, "B X Y Z"] | None = None
    depth_m: Float[Tensor, "B N H W"] | None = None
    elevation_m: Float[Tensor, "B rows cols"] | None = None
    world_from_lidar: Float[Tensor, "B 4 4"] | None = None
    captions: list[str] | None = None
    vehicles: list[VehicleState] | None = None
    neighbors: NeighborViews | None = None
    lidar_rays: LidarRays | None = None
    video: VideoImages | None = None
    masks: ImageMasks | None = None
    voxel_classes: UInt8[Tensor, "B X Y Z"] | None = None
    lost: list[tuple[Loss, ...]] | None = None
    sensors: list[str] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.stems)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device; tensors in pinned memory are copied asynchronously."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in pinned memory; the data loader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

    def of(self, frames: Sequence[int]) -> "Batch":
        """Return the sensor data of some frames, by index."""

        def chosen(values: Any) -> Any:
            if isinstance(values, Tensor):
                return values[list(frames)]
            return None if values is None else [values[frame] for frame in frames]

        return Batch(
            stems=chosen(self.stems),
            scenes=chosen(self.scenes),
            images=chosen(self.images),
            points=chosen(self.points),
            pixel_from_lidar=chosen(self.pixel_from_lidar),
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = function(value)
            elif field.name == "points" and value is not None:
                changes[field.name] = [function(points) for points in value]
            elif isinstance(value, NeighborViews | LidarRays | VideoImages | ImageMasks):
                changes[field.name] = type(value)(*map(function, value))
        return replace(self, **changes)


def required(batch: Batch, field: str) -> Any:
    """Return a field of a batch that the network needs.

    Raises:
        ValueError: If the batch lacks it.
    """
    value = getattr(batch, field)
    if value is None:
        raise ValueError(
            f"frames {batch.stems} were read without '{field}', which the network needs: "
            "add it to the data set's fields, or choose another modality"
        )
    return value


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch.

    Raises:
        ValueError: If only some of the samples have a field and no sensor was lost, or shapes
            differ.
    """

    def gather(name: str) -> list[Any] | None:
        values = [getattr(sample, name) for sample in samples]
        present = [value for value in values if value is not None]
        if name in _PLACEHOLDERS and present:
            values = [
                _PLACEHOLDERS[name](present[0]) if value is None and sample.lost else value
                for value, sample in zip(values, samples, strict=True)
            ]
        missing = [s.stem for s, value in zip(samples, values, strict=True) if value is None]
        if missing and present:
            raise ValueError(f"frames {missing} lack '{name}', but others in the batch have it")
        return None if missing else values

    def stack(name: str) -> Tensor | None:
        values = gather(name)
        return None if values is None else stack_values(name, values)

    def stack_values(name: str, values: list[Tensor]) -> Tensor:
        shapes = {s.stem: tuple(value.shape) for s, value in zip(samples, values, strict=True)}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"'{name}' differs in shape within a batch: {shapes}")
        return torch.stack(values)

    def stack_parts(name: str) -> Any:
        values = gather(name)
        if values is None:
            return None
        parts = zip(*values, strict=True)
        return type(values[0])(*(stack_values(name, list(part)) for part in parts))

    return Batch(
        stems=[sample.stem for sample in samples],
        scenes=[sample.scene for sample in samples],
        images=stack("images"),
        points=gather("points"),
        pixel_from_lidar=stack("pixel_from_lidar"),
        occupancy=stack("occupancy"),
        depth_m=stack("depth_m"),
        elevation_m=stack("elevation_m"),
        world_from_lidar=stack("world_from_lidar"),
        captions=gather("caption"),
        vehicles=gather("vehicle"),
        neighbors=stack_parts("neighbors"),
        lidar_rays=stack_parts("lidar_rays"),
        video=stack_parts("video"),
        masks=stack_parts("masks"),
        voxel_classes=stack("voxel_classes"),
        lost=[sample.lost for sample in samples] if any(s.lost for s in samples) else None,
        sensors=_sensors_left(samples),
    )


_PLACEHOLDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "images": torch.zeros_like,
    "pixel_from_lidar": lambda other: torch.eye(4).expand_as(other),
    "points": lambda other: other[:0],
}
"""Data in place of a lost sensor's, from that of another frame; it is not predicted from."""


def _sensors_left(samples: Sequence[Sample]) -> list[str] | None:
    """Return the sensors of each frame, if one has lost a sensor."""
    if not any(s.lost and (s.images is None or s.points is None) for s in samples):
        return None
    return [
        "lidar" if s.images is None else "camera" if s.points is None else "both" for s in samples
    ]
