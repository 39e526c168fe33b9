"""What a corruption knows of a frame besides its Sample."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from dataset.sample import Sample
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

VEHICLES = frozenset({
    "bicycle", "bus", "car", "construction_vehicle", "excavator", "machinery", "motorcycle",
    "trailer", "truck", "widebody",
})  # fmt: skip
"""Classes of machines and vehicles, in any label set."""


def _no_frame() -> None:
    return None


@dataclass(frozen=True)
class Surroundings:
    """What a corruption knows of a frame besides its Sample.

    Attributes:
        labels: Classes of the Sample's occupancy.
        grid: Grid of the Sample's occupancy.
        points_from_label: Transform from the frame of the occupancy to that of the points.
        lidar_m: Position of the LiDAR in the frame of the points [m].
        previous: Reads the frame before, of the same scene; returns None for the first.
    """

    labels: LabelSet
    grid: VoxelGrid
    points_from_label: Float64[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    lidar_m: Float64[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    previous: Callable[[], Sample | None] = _no_frame

    def on_vehicle(
        self, sample: Sample, points: Float32[np.ndarray, "P F"]
    ) -> Bool[np.ndarray, "P"]:
        """Return which points are in a voxel that is labeled as a vehicle.

        Raises:
            ValueError: If the sample has no labels.
        """
        if sample.occupancy is None:
            raise ValueError(f"frame {sample.stem} needs its labels to find the vehicles")
        names = self.labels.class_names
        vehicles = [label for label, name in enumerate(names) if name in VEHICLES]
        is_vehicle = np.isin(sample.occupancy.numpy(), vehicles)
        label_from_points = np.linalg.inv(self.points_from_label)
        moved: Float[np.ndarray, "P 3"]
        moved = points[:, :3] @ label_from_points[:3, :3].T + label_from_points[:3, 3]
        voxels = np.floor(self.grid.voxel_from_meters(moved)).astype(int)
        is_inside = ((voxels >= 0) & (voxels < self.grid.shape)).all(axis=1)
        found = np.zeros(len(points), bool)
        found[is_inside] = is_vehicle[tuple(voxels[is_inside].T)]
        return found
