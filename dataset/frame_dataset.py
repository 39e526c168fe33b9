"""The interface of every data set, whatever its file formats."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64
from torch.utils.data import Dataset

from dataset.sample import Sample
from utils.geometry import VoxelGrid


class FrameDataset(Dataset[Sample], ABC):
    """Frames of one split, read on demand.

    Attributes:
        camera_names: Name of each camera, in the order of a Sample's images.
        measured_depth: Field of a Sample with the depth that novel views are scored against:
            "points" or "depth_m"; None if the data set has none.
        has_labels: Whether frames can have occupancy labels.
        has_statistics: Whether ``dataset/statistics.py`` can count the labels of a split.
        stems: Stem of each frame.
        scenes: Scene of each frame; "" where unknown.
        grid: Voxel grid of the network.
        image_size: Height and width of the images.
    """

    camera_names: tuple[str, ...] = ()
    measured_depth: ClassVar[str | None] = None
    has_labels: ClassVar[bool] = True
    has_statistics: ClassVar[bool] = False
    stems: list[str]
    scenes: list[str]
    grid: VoxelGrid
    image_size: tuple[int, int]

    @classmethod
    def may_have(cls, data_root: str | Path, field: str) -> bool:
        """Return whether frames below ``data_root`` may have the files of a field of a Sample.

        Does not build an index of the frames; True if the answer would need one.
        """
        del data_root, field
        return True

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abstractmethod
    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a Sample field, whether or not it is loaded."""

    @abstractmethod
    def neighbors(self, count: int) -> list[list[int]]:
        """Return, for each frame, the indices of the nearest other frames of its scene in time.

        Raises:
            ValueError: If no scene has a second frame.
        """

    def previous(self, index: int) -> int | None:
        """Return the index of the frame before, in the same scene; None if there is none."""
        del index
        return None

    def volume_from_label(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the frame of a Sample's occupancy to that of its points."""
        del stem
        return np.eye(4)

    def lidar_position_m(self, index: int) -> Float64[np.ndarray, "3"]:
        """Return the position of the LiDAR in the frame of a Sample's points [m]."""
        del index
        return np.zeros(3)
