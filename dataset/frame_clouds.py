"""Read the points of a frame in the UnScenes3D layout, with those of its previous sweeps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from dataset import formats, layout, transforms
from dataset.augment.cloud import augment_cloud
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from dataset.cloud_rule import CloudRule
from dataset.sweep_ages import sweep_ages_s


@dataclass(frozen=True)
class FrameClouds:
    """The point clouds of a data set.

    Attributes:
        root: The data set.
        rule: What the numbers of its files mean.
        max_range_m: Points with x at or beyond this are dropped.
        history: Stems of the sweeps that make up each frame, its own first; empty without sweeps.
        world_from_lidar: Returns the pose of a stem in a scene.
    """

    root: Path
    rule: CloudRule
    max_range_m: float
    history: Mapping[str, Sequence[str]]
    world_from_lidar: Callable[[str, str], Float64[np.ndarray, "4 4"]]

    def read(self, stem: str, scene: str, choices: Choices) -> Float32[np.ndarray, "P F"]:
        """Read the points of a frame; each sweep is augmented in the frame of its sensor.

        Args:
            stem: The frame.
            scene: Its drive.
            choices: The values drawn for the frame.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is invalid, or the ages of the sweeps are implausible.
        """
        if not self.history:
            return self._read_sweep(stem, choices, 0)
        lidar_from_world = np.linalg.inv(self.world_from_lidar(stem, scene))
        sweeps = self.history[stem]
        ages_s = sweep_ages_s([self._time(sweep) for sweep in sweeps])
        clouds = []
        for number, (sweep, age_s) in enumerate(zip(sweeps, ages_s, strict=True)):
            cloud = self._read_sweep(sweep, choices, number)
            if sweep != stem:
                now_from_then = lidar_from_world @ self.world_from_lidar(sweep, scene)
                cloud = transforms.transform_cloud(now_from_then, cloud)
            clouds.append(np.hstack([cloud, np.full((len(cloud), 1), age_s, np.float32)]))
        return np.concatenate(clouds)

    def read_recorded(self, stem: str) -> Float32[np.ndarray, "P 4"]:
        """Read one sweep without augmentation.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is invalid.
        """
        return transforms.within_range(self.read_file(stem), self.max_range_m)

    def read_file(self, stem: str) -> Float32[np.ndarray, "P 4"]:
        """Read all points of a file, in its order.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is invalid.
        """
        return formats.read_cloud(self.root / layout.relative_path(layout.CLOUDS, stem), self.rule)

    def _read_sweep(self, stem: str, choices: Choices, number: int) -> Float32[np.ndarray, "P F"]:
        """Read one sweep and augment it; ``number`` counts the sweeps of a frame."""
        cloud = self.read_recorded(stem)
        return augment_cloud(cloud, choices.cloud, choices.stream(Stream.CLOUD, number))

    def _time(self, stem: str) -> tuple[Path, float]:
        """Return the file that states the time of a frame, and the time [s].

        It is the vehicle info, or the stem of the cloud where there is none.
        """
        path = self.root / layout.relative_path(layout.VEHICLE_INFOS, stem)
        if path.is_file():
            return path, formats.read_vehicle_info(path).stamp_s
        path = self.root / layout.relative_path(layout.CLOUDS, stem)
        try:
            return path, float(stem)
        except ValueError as error:
            raise ValueError(
                f"{path}: expected the time in seconds as the stem, because there is no "
                f"{layout.VEHICLE_INFOS}/{stem}.txt, found '{stem}'. Add that file, or set "
                "dataset.num_sweeps=1"
            ) from error
