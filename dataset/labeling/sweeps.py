"""One cloud with what is known of each point: its class, and whether it moves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dataset.labeling.drive import Drive
from dataset.labeling.options import LabelOptions


@dataclass(frozen=True)
class Sweep:
    """Points of one cloud that count.

    Attributes:
        points: x, y, z [m] in the LiDAR frame of the network, and the intensity, 0–1.
        label: Class of each point; 0 if unknown.
        is_moving: Points on things that move, according to their labels.
    """

    points: Float32[np.ndarray, "P 4"]
    label: UInt8[np.ndarray, " P"]
    is_moving: Bool[np.ndarray, " P"]


class SweepReader:
    """Reads the clouds of a drive.

    Args:
        drive: The drive.
        options: Range, and the box of your own vehicle.
    """

    def __init__(self, drive: Drive, options: LabelOptions) -> None:
        self.drive = drive
        self._options = options

    def read(self, frame: int) -> Sweep:
        """Read the cloud of a frame.

        Raises:
            ValueError: If a file is invalid.
        """
        points = self.drive.clouds.read(self.drive.stems[frame]).astype(np.float32)
        label = np.zeros(len(points), np.uint8)
        kept = is_outside_vehicle(points, self._options)
        return Sweep(points[kept], label[kept], np.zeros(kept.sum(), bool))


def is_outside_vehicle(
    points: Float32[np.ndarray, "P 4"], options: LabelOptions
) -> Bool[np.ndarray, " P"]:
    """Return the points within the range and not on your own vehicle."""
    range_m = np.linalg.norm(points[:, :3], axis=1)
    x0, x1, y0, y1, z0, z1 = options.vehicle_m
    x, y, z = points[:, :3].T
    on_vehicle = (x > x0) & (x < x1) & (y > y0) & (y < y1) & (z > z0) & (z < z1)
    return (range_m >= options.min_range_m) & (range_m <= options.range_m) & ~on_vehicle
