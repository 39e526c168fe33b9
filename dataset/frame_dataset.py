"""What every data set answers, whatever its files look like."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch.utils.data import Dataset

from dataset.sample import Sample
from utils.geometry import VoxelGrid


class FrameDataset(Dataset[Sample], ABC):
    """Frames of one split, read on demand.

    Attributes:
        camera_names: Name of each camera, in the order of a Sample's images.
        measured_depth: Field of a Sample with the depth that novel views are scored against:
            "points" or "depth_m"; None: the data set has none.
        has_statistics: Whether ``dataset/statistics.py`` can count the labels of a split.
        stems: Stem of each frame.
        scenes: Scene of each frame; "" where unknown.
        grid: Grid of the network's volume.
        image_size: Height and width of the images.
    """

    camera_names: ClassVar[tuple[str, ...]] = ()
    measured_depth: ClassVar[str | None] = None
    has_statistics: ClassVar[bool] = False
    stems: list[str]
    scenes: list[str]
    grid: VoxelGrid
    image_size: tuple[int, int]

    @classmethod
    def may_have(cls, data_root: str | Path, field: str) -> bool:
        """Whether a frame below ``data_root`` may have the files of a field of a Sample.

        Answered without an index of the frames; True where that takes the index.
        """
        del data_root, field
        return True

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def stems_with(self, field: str) -> list[str]:
        """Stems that have the files of a field of a Sample, which need not have been asked for."""

    @abstractmethod
    def neighbors(self, count: int) -> list[list[int]]:
        """For each frame, the indices of the frames of its scene that are nearest in time.

        Raises:
            ValueError: If no scene has a second frame.
        """
