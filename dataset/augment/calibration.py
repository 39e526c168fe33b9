"""Augmentation of the calibration: small errors between the LiDAR and each camera."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataset.augment.ranges import check_not_negative


@dataclass(frozen=True)
class CalibrationRanges:
    """Maximum errors of a camera's extrinsic calibration; the defaults are the identity.

    Attributes:
        rotation_deg: Maximum rotation about each axis, in either direction.
        translation_m: Maximum translation along each axis, in either direction.

    Raises:
        ValueError: If a value is negative.
    """

    rotation_deg: float = 0.0
    translation_m: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_not_negative(self, ("rotation_deg", "translation_m"))

    def draw(self, rng: np.random.Generator) -> Float64[np.ndarray, "4 4"]:
        """Draw the error of one camera, to be multiplied from the right to its projection.

        The rotations are about the axes x, y, z of the LiDAR, in this order.
        """
        signed = rng.uniform(-1.0, 1.0, 6)
        error = np.eye(4)
        for axis, angle in enumerate(np.deg2rad(self.rotation_deg) * signed[:3]):
            rotation, (i, j) = np.eye(4), ((1, 2), (2, 0), (0, 1))[axis]
            rotation[i, i] = rotation[j, j] = np.cos(angle)
            rotation[i, j], rotation[j, i] = -np.sin(angle), np.sin(angle)
            error = rotation @ error
        error[:3, 3] = self.translation_m * signed[3:]
        return error
