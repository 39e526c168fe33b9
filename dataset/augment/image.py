"""Augmentation of the camera: blur, noise, and patches that hide parts of the image."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from dataset.augment.ranges import check_not_negative, check_shares

_MIN_PATCH = 0.2
"""Minimum edge of a patch, as a share of the maximum."""


@dataclass(frozen=True)
class ImageChoices:
    """The values drawn for one frame, the same for all cameras; the defaults are the identity.

    Attributes:
        blur_px: Standard deviation of the Gaussian blur, in pixels of the network's input.
        noise: Standard deviation of the noise of each color value, as a share of the full scale.
        patches: Number of patches.
        patch_size: Maximum edges of a patch, as a share of the image's.
    """

    blur_px: float = 0.0
    noise: float = 0.0
    patches: int = 0
    patch_size: float = 0.3


@dataclass(frozen=True)
class ImageRanges:
    """Ranges of the camera's augmentation; the defaults are the identity.

    Attributes:
        blur_px: Maximum standard deviation of the blur, in pixels of the network's input.
        noise: Maximum standard deviation of the noise, as a share of the full scale.
        patches: Maximum number of patches of the image's mean color.
        patch_size: Maximum edges of a patch, as a share of the image's.

    Raises:
        ValueError: If a value is out of its range.
    """

    blur_px: float = 0.0
    noise: float = 0.0
    patches: int = 0
    patch_size: float = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_not_negative(self, ("blur_px", "patches"))
        check_shares(self, ("noise", "patch_size"))

    def draw(self, rng: np.random.Generator) -> ImageChoices:
        """Draw the values; consumes the same number of random numbers whatever the ranges."""
        uniform = rng.random(3)
        return ImageChoices(
            blur_px=float(self.blur_px * uniform[0]),
            noise=float(self.noise * uniform[1]),
            patches=int((self.patches + 1) * uniform[2]),
            patch_size=self.patch_size,
        )


def augment_image(
    image: UInt8[np.ndarray, "H W 3"], choices: ImageChoices, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Hide patches, blur and add noise, in the order in which lens and sensor do.

    Args:
        image: RGB, 0–255.
        choices: The values drawn for the frame.
        rng: Draws the patches and the noise of this camera.

    Returns:
        The image itself if nothing changes.
    """
    if choices.patches:
        image = _with_patches(image, choices, rng)
    if choices.blur_px > 0.0:
        image = cv2.GaussianBlur(image, (0, 0), choices.blur_px)
    if choices.noise > 0.0:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(255.0 * choices.noise)
        image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return image


def mean_color(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, " 3"]:
    """Return the mean color of an image, which stands for what the camera does not see."""
    return np.rint(cv2.mean(image)[:3]).astype(np.uint8)


def _with_patches(
    image: UInt8[np.ndarray, "H W 3"], choices: ImageChoices, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a copy with rectangles of its mean color."""
    color, hidden = mean_color(image), image.copy()
    size = np.array(image.shape[:2])
    for _ in range(choices.patches):
        share = choices.patch_size * rng.uniform(_MIN_PATCH, 1.0, 2)
        edges = np.maximum(np.rint(share * size), 1).astype(int)
        top, left = rng.integers(0, size - edges + 1)
        hidden[top : top + edges[0], left : left + edges[1]] = color
    return hidden
