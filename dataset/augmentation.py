"""Ranges of the augmentation, and the values drawn for a frame.

``transforms.py`` applies those that move or color a whole frame, and the files of
``dataset/augment/`` the others.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.augment.calibration import CalibrationRanges
from dataset.augment.cloud import CloudChoices, CloudRanges
from dataset.augment.image import ImageChoices, ImageRanges
from dataset.augment.mix import MixChoices, MixRanges
from dataset.augment.paste import PasteRanges
from dataset.augment.ranges import (
    Stream,
    check_interval,
    check_not_negative,
    check_shares,
    from_options,
    stream,
)
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
        volume_height_m: Height that is added to the scene: the LiDAR is that much lower.
        brightness: Factor on the colors.
        contrast: Factor on the difference between each color and the mean gray level.
        saturation: Factor on the difference between each color and its own gray level.
        cloud: Changes of the LiDAR points.
        image: Changes of the images, beside their colors.
        calibration: Maximum errors of the calibration.
        mix: Which directions show another frame.
        paste: Which objects of other frames are pasted.
        pasted_objects: How many of them.
        frame: Seed, epoch, index and so on, from which further random numbers are drawn.
    """

    image_scale: float = 1.0
    image_shift: tuple[float, float] = (0.0, 0.0)
    image_flip: bool = False
    volume_flip: bool = False
    volume_rotation_deg: float = 0.0
    volume_height_m: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    cloud: CloudChoices = field(default_factory=CloudChoices)
    image: ImageChoices = field(default_factory=ImageChoices)
    calibration: CalibrationRanges = field(default_factory=CalibrationRanges)
    mix: MixChoices = field(default_factory=MixChoices)
    paste: PasteRanges = field(default_factory=PasteRanges)
    pasted_objects: int = 0
    frame: tuple[int, ...] = (0, 0, 0)

    def stream(self, part: Stream, number: int) -> np.random.Generator:
        """Return the random numbers of one camera or sweep, counted from 0."""
        return stream(self.frame, part, number + 1)

    def calibration_error(self, camera: int) -> Float64[np.ndarray, "4 4"]:
        """Return the error of a camera's projection, to be multiplied from the right."""
        return self.calibration.draw(self.stream(Stream.CALIBRATION, camera))


@dataclass(frozen=True)
class Augmentation:
    """Ranges that augmentations are drawn from; the defaults are the identity.

    Attributes:
        image_scale: Minimum and maximum zoom.
        image_shift: Maximum shift of the crop along each axis, as a fraction of its size.
        image_flip_prob: Probability of an image flip.
        volume_flip_prob: Probability of a volume flip.
        volume_rotation_deg: Maximum rotation of the volume in either direction.
        volume_height_m: Maximum shift of the volume along z in either direction. Shifts are whole
            voxels of the labels, so that thin surfaces stay exact.
        brightness: Maximum relative change of the brightness in either direction.
        contrast: Maximum relative change of the contrast in either direction.
        saturation: Maximum relative change of the saturation in either direction.
        cloud: Ranges of the LiDAR points.
        image: Ranges of blur, noise and patches.
        calibration: Maximum errors of the calibration that the network sees.
        mix: Ranges of the mixing with another frame.
        paste: Ranges of the pasting of rare objects.

    Raises:
        ValueError: If the scale range is empty or a value is out of its range.
    """

    image_scale: tuple[float, float] = (1.0, 1.0)
    image_shift: float = 0.0
    image_flip_prob: float = 0.0
    volume_flip_prob: float = 0.0
    volume_rotation_deg: float = 0.0
    volume_height_m: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    cloud: CloudRanges = field(default_factory=CloudRanges)
    image: ImageRanges = field(default_factory=ImageRanges)
    calibration: CalibrationRanges = field(default_factory=CalibrationRanges)
    mix: MixRanges = field(default_factory=MixRanges)
    paste: PasteRanges = field(default_factory=PasteRanges)

    @property
    def takes_from_others(self) -> bool:
        """Whether a frame can get parts of other frames."""
        return self.mix.is_on or self.paste.objects > 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_interval(self, "image_scale")
        check_shares(self, ("image_flip_prob", "volume_flip_prob"))
        check_shares(self, ("image_shift", "brightness", "contrast", "saturation"), below_one=True)
        check_not_negative(self, ("volume_height_m",))
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
        return from_options(cls, options, "augmentation")

    def choices(self, seed: int, key: SampleKey, *, height_step_m: float = 0.0) -> Choices:
        """Draw the values for one frame; the same arguments give the same values.

        Args:
            seed: Seed of the data set.
            key: The frame and the epoch.
            height_step_m: Voxel size of the labels, to which heights are rounded; 0: not at all.
        """
        frame = (seed, key.epoch, key.index, *([key.repeat] if key.repeat else []))
        drawn = self.draw(np.random.default_rng(frame))
        height_m = drawn.volume_height_m
        if height_step_m:
            height_m = round(height_m / height_step_m) * height_step_m
        return replace(
            drawn,
            volume_height_m=height_m,
            cloud=self.cloud.draw(stream(frame, Stream.CLOUD)),
            image=self.image.draw(stream(frame, Stream.IMAGE)),
            calibration=self.calibration,
            mix=self.mix.draw(stream(frame, Stream.MIX)),
            paste=self.paste,
            pasted_objects=int(stream(frame, Stream.PASTE).integers(self.paste.objects + 1)),
            frame=frame,
        )

    def draw(self, rng: np.random.Generator) -> Choices:
        """Draw the values of the whole frame; consumes as many numbers whatever the ranges."""
        uniform = rng.random(10)
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
            volume_height_m=float(self.volume_height_m * signed[9]),
        )
