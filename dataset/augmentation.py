"""Ranges of the augmentation, and the values drawn for a frame; ``transforms.py`` applies them."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dataset.sample import SampleKey


@dataclass(frozen=True)
class Choices:
    """The values drawn for one frame; the defaults are the identity.

    Attributes:
        image_scale: Zoom about the image center; above 1 magnifies.
        image_shift: Shift of the crop (down, right), as a fraction of its size.
        image_flip: Whether to flip the image horizontally.
        volume_flip: Whether y becomes −y.
        volume_rotation_deg: Rotation of the scene about z, counter-clockwise.
        brightness: Factor on the colors.
        contrast: Factor on the difference between each color and the mean gray level.
        saturation: Factor on the difference between each color and its own gray level.
    """

    image_scale: float = 1.0
    image_shift: tuple[float, float] = (0.0, 0.0)
    image_flip: bool = False
    volume_flip: bool = False
    volume_rotation_deg: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0


@dataclass(frozen=True)
class Augmentation:
    """Ranges that augmentations are drawn from; the defaults are the identity.

    Attributes:
        image_scale: Minimum and maximum zoom.
        image_shift: Maximum shift of the crop along each axis, as a fraction of its size.
        image_flip_prob: Probability of an image flip.
        volume_flip_prob: Probability of a volume flip.
        volume_rotation_deg: Maximum rotation of the volume in either direction.
        brightness: Maximum relative change of the brightness in either direction.
        contrast: Maximum relative change of the contrast in either direction.
        saturation: Maximum relative change of the saturation in either direction.

    Raises:
        ValueError: If the scale range is empty or a value is out of its range.
    """

    image_scale: tuple[float, float] = (1.0, 1.0)
    image_shift: float = 0.0
    image_flip_prob: float = 0.0
    volume_flip_prob: float = 0.0
    volume_rotation_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        low, high = self.image_scale
        if not 0.0 < low <= high:
            raise ValueError(f"image_scale must be 0 < min <= max, got {self.image_scale}")
        for name in ("image_flip_prob", "volume_flip_prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("image_shift", "brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0.0 <= self.volume_rotation_deg <= 180.0:
            raise ValueError(
                f"volume_rotation_deg must be in [0, 180], got {self.volume_rotation_deg}"
            )

    @classmethod
    def from_config(cls, options: "Augmentation | dict[str, Any] | None") -> "Augmentation":
        """Build from a config dictionary; None is the identity, an Augmentation is returned as is.

        Raises:
            ValueError: If it has an unknown key or an invalid value.
        """
        if isinstance(options, Augmentation):
            return options
        options = options or {}
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(options) - known):
            raise ValueError(f"unknown augmentation keys {unknown}; known: {sorted(known)}")
        low, high = options.get("image_scale", cls.image_scale)
        numbers = {key: float(value) for key, value in options.items() if key != "image_scale"}
        return cls(image_scale=(float(low), float(high)), **numbers)

    def choices(self, seed: int, key: SampleKey) -> Choices:
        """Draw the values for one frame; the same arguments give the same values.

        Args:
            seed: Seed of the data set.
            key: The frame and the epoch.
        """
        return self.draw(np.random.default_rng((seed, key.epoch, key.index)))

    def draw(self, rng: np.random.Generator) -> Choices:
        """Draw the values; consumes the same number of random numbers whatever the ranges."""
        uniform = rng.random(9)
        signed = 2.0 * uniform - 1.0
        low, high = self.image_scale
        return Choices(
            image_scale=float(low + (high - low) * uniform[0]),
            image_shift=(float(self.image_shift * signed[1]), float(self.image_shift * signed[2])),
            image_flip=bool(uniform[3] < self.image_flip_prob),
            volume_flip=bool(uniform[4] < self.volume_flip_prob),
            volume_rotation_deg=float(self.volume_rotation_deg * signed[5]),
            brightness=float(1.0 + self.brightness * signed[6]),
            contrast=float(1.0 + self.contrast * signed[7]),
            saturation=float(1.0 + self.saturation * signed[8]),
        )
