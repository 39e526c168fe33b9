"""What an augmentation may do to a frame, and one draw of it; ``transforms.py`` does it."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dataset.sample import SampleKey


@dataclass(frozen=True)
class Choices:
    """One draw of an augmentation; the defaults change nothing.

    Attributes:
        image_scale: Zoom into the image about its middle; above 1 magnifies.
        image_shift: Move of the cut-out (down, right), as a fraction of its size.
        image_flip: Whether the picture is mirrored left to right.
        volume_flip: Whether y becomes −y.
        volume_rotation_deg: Turn of the LiDAR frame's content about z, counter-clockwise.
        brightness: Factor on the colours.
        contrast: Factor on their distance from the mean grey.
        saturation: Factor on their distance from their own grey.
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
    """Ranges that augmentations are drawn from; the defaults change nothing.

    Attributes:
        image_scale: Least and largest zoom.
        image_shift: Largest move of the cut-out along each axis, as a fraction of its size.
        image_flip_prob: How often the picture is mirrored.
        volume_flip_prob: How often the volume is mirrored.
        volume_rotation_deg: Largest turn of the volume, either way.
        brightness: Largest relative change of the colours, either way.
        contrast: Likewise of the contrast.
        saturation: Likewise of the saturation.

    Raises:
        ValueError: If a range is empty, a probability is beyond [0, 1] or a change beyond [0, 1).
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
        least, largest = self.image_scale
        if not 0.0 < least <= largest:
            raise ValueError(f"image_scale is (least, largest) > 0, got {self.image_scale}")
        for name in ("image_flip_prob", "volume_flip_prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is in [0, 1], got {getattr(self, name)}")
        for name in ("image_shift", "brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is in [0, 1), got {getattr(self, name)}")
        if not 0.0 <= self.volume_rotation_deg <= 180.0:
            raise ValueError(f"volume_rotation_deg is in [0, 180], got {self.volume_rotation_deg}")

    @classmethod
    def from_config(cls, options: "Augmentation | dict[str, Any] | None") -> "Augmentation":
        """Build from a config's dictionary; None changes nothing, and what is built stays.

        Raises:
            ValueError: If it has a key that is none of the attributes, or a bad value.
        """
        if isinstance(options, Augmentation):
            return options
        options = options or {}
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(options) - known):
            raise ValueError(f"unknown augmentation keys {unknown}; there are {sorted(known)}")
        least, largest = options.get("image_scale", cls.image_scale)
        numbers = {key: float(value) for key, value in options.items() if key != "image_scale"}
        return cls(image_scale=(float(least), float(largest)), **numbers)

    def choices(self, seed: int, key: SampleKey) -> Choices:
        """Choose for a frame of a data set; the same arguments give the same choices.

        Args:
            seed: Seed of the data set.
            key: The frame and the epoch.
        """
        return self.draw(np.random.default_rng((seed, key.epoch, key.index)))

    def draw(self, rng: np.random.Generator) -> Choices:
        """Choose; the same number of random values whatever the ranges are."""
        uniform = rng.random(9)
        signed = 2.0 * uniform - 1.0
        least, largest = self.image_scale
        return Choices(
            image_scale=float(least + (largest - least) * uniform[0]),
            image_shift=(float(self.image_shift * signed[1]), float(self.image_shift * signed[2])),
            image_flip=bool(uniform[3] < self.image_flip_prob),
            volume_flip=bool(uniform[4] < self.volume_flip_prob),
            volume_rotation_deg=float(self.volume_rotation_deg * signed[5]),
            brightness=float(1.0 + self.brightness * signed[6]),
            contrast=float(1.0 + self.contrast * signed[7]),
            saturation=float(1.0 + self.saturation * signed[8]),
        )
