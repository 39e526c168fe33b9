"""Build a Sample from your own arrays, with the same preprocessing as the data sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Num, UInt8

from dataset import transforms
from dataset.augmentation import Choices
from dataset.cloud_rule import CloudRule, intensity_contradiction
from dataset.image_decoding import EncodedImage
from dataset.options import checked_crop, checked_size
from dataset.sample import Sample

_POINTS = CloudRule(1.0)
_AXIS_TOLERANCE = 0.01
"""Tolerance of the length of the camera axis; covers the rounding of printed matrices."""

Images = Sequence[UInt8[np.ndarray, "_ _ 3"] | EncodedImage]
Decoder = Callable[[EncodedImage, transforms.ImageTransform], UInt8[torch.Tensor, "3 H W"]]
"""Decodes an image file and transforms it."""


def as_array(name: str, values: Any) -> np.ndarray:
    """Return an array, a tensor on any device, or nested lists of numbers as an array.

    Args:
        name: What the values are called in the message.
        values: The values.

    Raises:
        ValueError: If they are not a rectangular array of numbers.
    """
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # Such as lists of several lengths.
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if array.dtype.kind not in "iuf":
        kind = type(values).__name__
        raise ValueError(f"{name} must be an array of numbers, got {kind} ({array.dtype})")
    return array


@dataclass(frozen=True)
class InputOptions:
    """How recordings are preprocessed for a network.

    Attributes:
        image_size: Height and width after the resize; None if no images are read.
        image_crop: Top, left, bottom and right of the used part of the recorded image, as
            fractions; cropped before the resize.
        max_range_m: Points with x at or beyond this are dropped.
        lidar_height_m: Height of the LiDAR that the network was trained with, above level ground;
            None: the network's frame is not the LiDAR's.

    Raises:
        ValueError: If the size or the crop is invalid.
    """

    image_size: tuple[int, int] | None
    image_crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    max_range_m: float = inf
    lidar_height_m: float | None = None

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> "InputOptions":
        """Build from the ``dataset`` section of a config."""
        size = section.get("image_size")
        return cls(
            None if size is None else checked_size("image_size", size),
            checked_crop(section.get("image_crop", cls.image_crop)),
            float(section.get("max_range_m", cls.max_range_m)),
            section.get("lidar_height_m", cls.lidar_height_m),
        )

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.image_size is not None:
            checked_size("image_size", self.image_size)
        checked_crop(self.image_crop)


def decoded_on_cpu(
    image: EncodedImage, transform: transforms.ImageTransform
) -> UInt8[torch.Tensor, "3 H W"]:
    """Decode an image file and transform it.

    Raises:
        ValueError: If the file is not a valid image.
    """
    return _as_input(transform.decoded(image))


def _as_input(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[torch.Tensor, "3 H W"]:
    return torch.from_numpy(transforms.input_pixels(image, Choices()))


def sample_from_arrays(
    stem: str,
    options: InputOptions,
    *,
    images: Images | None = None,
    pixel_from_lidar: Sequence[Float[np.ndarray, "4 4"]] | None = None,
    points: Num[np.ndarray, "P F"] | None = None,
    decoder: Decoder = decoded_on_cpu,
) -> Sample:
    """Build a Sample from sensor data; fields without data stay None.

    Args:
        stem: Name of the frame.
        options: How recordings are preprocessed for the network.
        images: Recorded RGB image of each camera, or its file; their sizes may differ.
        pixel_from_lidar: Each camera's projection into its recorded image: maps (x, y, z, 1) [m]
            to (u·d, v·d, d, 1), d the camera depth [m], pixel centers at integer + 0.5.
        points: x, y, z [m], intensity 0–1 and optionally age [s], in the frame of the network's
            grid. A few intensities above 1 are set to 1.
        decoder: Decodes image files; the images are where it leaves them.

    Raises:
        ValueError: If an array is not as described, or images and matrices differ in number.
    """
    found: dict[str, Any] = {}
    if images is not None:
        found |= _view_fields(stem, options, images, pixel_from_lidar, decoder)
    if points is not None:
        found["points"] = torch.from_numpy(input_points(stem, points, options.max_range_m))
    return Sample(stem=stem, **found)


def input_points(
    stem: str, points: Num[np.ndarray, "P F"], max_range_m: float
) -> Float32[np.ndarray, "Q F"]:
    """Return points as a network reads them.

    Args:
        stem: Name of the frame, for messages.
        points: As in ``sample_from_arrays``.
        max_range_m: Points with x at or beyond this are dropped.

    Raises:
        ValueError: If they are not as described there.
    """
    _check_points(stem, points)
    cloud = transforms.within_range(points.astype(np.float32), max_range_m)
    cloud[:, 3] = cloud[:, 3].clip(0, 1)
    return np.ascontiguousarray(cloud)


def _view_fields(
    stem: str,
    options: InputOptions,
    images: Images,
    pixel_from_lidar: Sequence[Float[np.ndarray, "4 4"]] | None,
    decoder: Decoder,
) -> dict[str, Any]:
    number = 0 if pixel_from_lidar is None else len(pixel_from_lidar)
    if pixel_from_lidar is None or number != len(images) or not number:
        raise ValueError(
            f"frame {stem}: expected an image and a matrix pixel_from_lidar for each camera, got "
            f"{len(images)} images and {number} matrices"
        )
    if options.image_size is None:
        raise ValueError("the dataset section has no image_size: set the input size of the network")
    pixels, matrices = [], []
    for image, matrix in zip(images, pixel_from_lidar, strict=True):
        _check_projection(stem, matrix)
        size = _size_of(stem, image)
        window = transforms.image_transform(size, options.image_size, options.image_crop, Choices())
        if isinstance(image, EncodedImage):
            pixels.append(decoder(image, window))
        else:
            pixels.append(_as_input(window.image(np.ascontiguousarray(image))))
        matrices.append(window.matrix() @ matrix.astype(np.float64))
    return {
        "images": torch.stack([image.to(pixels[0].device) for image in pixels]),
        "pixel_from_lidar": torch.from_numpy(np.stack(matrices)).float(),
    }


def _size_of(stem: str, image: np.ndarray | EncodedImage) -> tuple[int, int]:
    if isinstance(image, EncodedImage):
        return image.size
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"frame {stem}: an image must be uint8 RGB (height, width, 3), got {image.dtype} "
            f"{image.shape}"
        )
    return image.shape[0], image.shape[1]


def _check_projection(stem: str, matrix: np.ndarray) -> None:
    is_projection = (
        matrix.shape == (4, 4)
        and bool(np.isfinite(matrix).all())
        and np.allclose(matrix[3], (0, 0, 0, 1))
    )
    if not is_projection or np.linalg.det(matrix) == 0:
        raise ValueError(
            f"frame {stem}: pixel_from_lidar must be an invertible (4, 4) matrix with the last row "
            f"0, 0, 0, 1; got shape {matrix.shape}: {matrix.tolist()}"
        )
    length = np.linalg.norm(matrix[2, :3])
    if abs(length - 1.0) > _AXIS_TOLERANCE:
        raise ValueError(
            f"frame {stem}: the third row of pixel_from_lidar gives the camera depth in meters, so "
            f"its first three numbers must have length 1, got {length:.4g}: {matrix[2].tolist()}. "
            "Is the camera matrix transposed, or the product scaled?"
        )


def _check_points(stem: str, points: np.ndarray) -> None:
    if points.ndim != 2 or points.shape[1] not in (4, 5):
        raise ValueError(
            f"frame {stem}: points must be rows of x, y, z, intensity and optionally age, got "
            f"shape {points.shape}"
        )
    finite = np.isfinite(points)
    if not finite.all():
        finite = finite.all(axis=1)
        raise ValueError(
            f"frame {stem}: {(~finite).sum()} of {len(points)} points are not finite, the first is "
            f"{int(np.argmin(finite))}: remove them"
        )
    found = intensity_contradiction(points, _POINTS)
    if found is not None:
        raise ValueError(
            f"frame {stem}: points: {found}. Divide intensities by the largest that the sensor can "
            "give, such as 255"
        )
