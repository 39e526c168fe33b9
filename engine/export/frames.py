"""Frames as sensors record them, to compare an exported network with the network itself."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from mmengine.config import Config
from torch import Tensor

from dataset.arrays import InputOptions, sample_from_arrays
from dataset.augmentation import Choices
from dataset.minesim.sensors.rig import REFERENCE_SIZE
from dataset.sample import Sample
from dataset.transforms import ImageTransform, image_transform
from engine.benchmark.synthetic import cameras_of, recorded_projections, scan, surfaces
from engine.build.build import build_grid, input_fields, sensors_of
from engine.export.signature import Signature
from model.captured import OUTSIDE_M
from utils.labels import label_set


class RawFrame(NamedTuple):
    """A frame as recorded; fields of sensors that are not in use are None.

    Attributes:
        stem: Its name.
        images: RGB of each camera.
        pixel_from_lidar: Projection into each image.
        points: x, y, z [m], intensity 0–1 and optionally age [s].
    """

    stem: str
    images: UInt8[np.ndarray, "N H W 3"] | None
    pixel_from_lidar: Float32[np.ndarray, "N 4 4"] | None
    points: Float32[np.ndarray, "P F"] | None

    def sample(self, options: InputOptions) -> Sample:
        """Return the input of the network itself."""
        return sample_from_arrays(
            self.stem,
            options,
            images=None if self.images is None else list(self.images),
            pixel_from_lidar=None if self.pixel_from_lidar is None else list(self.pixel_from_lidar),
            points=self.points,
        )

    def inputs(self, signature: Signature, device: torch.device) -> list[Tensor]:
        """Return the inputs of an exported network; points are padded."""
        found: dict[str, Tensor] = {}
        if self.images is not None and self.pixel_from_lidar is not None:
            found["images"] = torch.from_numpy(self.images)
            found["pixel_from_lidar"] = torch.from_numpy(self.pixel_from_lidar)
        if self.points is not None:
            rows = torch.full(signature.inputs["points"], OUTSIDE_M)
            rows[: len(self.points)] = torch.from_numpy(self.points)
            found["points"] = rows
            found["num_points"] = torch.tensor(len(self.points))
        return [found[name].to(device) for name in signature.inputs]


def resize_of(options: InputOptions, image_size: tuple[int, int]) -> ImageTransform:
    """Return the crop and resize of images that are recorded with this height and width."""
    assert options.image_size is not None, "the network has a camera"
    return image_transform(image_size, options.image_size, options.image_crop, Choices())


def made_up_frames(
    cfg: Config, image_size: tuple[int, int] | None, number: int
) -> Iterator[RawFrame]:
    """Make up frames: a scene of the benchmark, and images of smooth noise.

    Args:
        cfg: The config of the network.
        image_size: Height and width of the images; None without a camera.
        number: Number of frames.
    """
    fields = input_fields(sensors_of(cfg))
    for seed in range(number):
        images = projections = points = None
        if image_size is not None:
            (height, width), (full_width, full_height) = image_size, REFERENCE_SIZE
            random = np.random.default_rng(seed)
            coarse = random.integers(0, 256, (cameras_of(cfg), 12, 16, 3), dtype=np.uint8)
            images = np.stack([cv2.resize(image, (width, height)) for image in coarse])
            scale = np.diag([width / full_width, height / full_height, 1.0, 1.0])
            projections = (scale @ recorded_projections(cfg).double().numpy()).astype(np.float32)
        if "points" in fields:
            generator, grid = torch.Generator().manual_seed(seed), build_grid(cfg)
            scene = surfaces(grid, label_set(cfg.labels).num_classes, generator)
            points = scan(scene, grid, cfg.dataset.get("num_sweeps", 1), generator).numpy()
        yield RawFrame(f"made up {seed}", images, projections, points)


def recorded_frames(
    samples: Sequence[Sample], options: InputOptions, image_size: tuple[int, int] | None
) -> Iterator[RawFrame]:
    """Turn samples of a data set back into frames as recorded, with images of any size.

    Args:
        samples: Frames with the fields of the sensors in use only.
        options: Input options of the network.
        image_size: Height and width of the images; None without a camera.
    """
    for sample in samples:
        images = projections = None
        if sample.images is not None and sample.pixel_from_lidar is not None:
            assert image_size is not None, "the network has a camera"
            resize = resize_of(options, image_size)
            images = np.stack([enlarged(image, resize, image_size) for image in sample.images])
            recorded_from_pixel = np.linalg.inv(resize.matrix())
            projections = recorded_from_pixel @ sample.pixel_from_lidar.double().numpy()
            projections = projections.astype(np.float32)
        points = None if sample.points is None else sample.points.numpy()
        yield RawFrame(sample.stem, images, projections, points)


def enlarged(
    image: UInt8[Tensor, "3 h w"], resize: ImageTransform, image_size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return an image of which the crop and resize is about ``image``; black around the crop."""
    top, left, bottom, right = resize.window
    recorded = np.zeros((*image_size, 3), np.uint8)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    recorded[top:bottom, left:right] = cv2.resize(pixels, (right - left, bottom - top))
    return recorded
