"""A data set of corrupted frames."""

from collections.abc import Sequence
from functools import partial

from dataset.corruptions.surroundings import Surroundings
from dataset.corruptions.table import Corruption, corrupt
from dataset.frame_dataset import FrameDataset
from dataset.lost_sensors import LOST_CAMERA, LOST_LIDAR, losses_of, with_losses
from dataset.sample import Sample
from utils.labels import LabelSet

_SENSORS = ("images", "points")


class CorruptedFrames(FrameDataset):
    """Some frames of another data set, corrupted or as they are.

    Args:
        frames: The other data set, with the fields that the corruption changes and needs.
        indices: Indices of the frames to read.
        labels: Classes of its labels.
        corruption: What happens to the sensors; None: nothing.
        severity: 1, 2 or 3.
        skips_lost: Whether frames without one sensor are predicted from the other. A frame without
            both keeps its blank data.
    """

    def __init__(
        self,
        frames: FrameDataset,
        indices: Sequence[int],
        labels: LabelSet,
        corruption: Corruption | None = None,
        severity: int = 1,
        *,
        skips_lost: bool = False,
    ) -> None:
        self._frames, self._indices, self._labels = frames, list(indices), labels
        self._corruption, self._severity = corruption, severity
        self._skips_lost = skips_lost
        self.stems = [frames.stems[index] for index in indices]
        self.scenes = [frames.scenes[index] for index in indices]
        self.grid, self.image_size = frames.grid, frames.image_size

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._indices)

    def __getitem__(self, number: int) -> Sample:
        """Read and corrupt one frame."""
        sample = self._corrupted(self._indices[number])
        lost = losses_of(sample, _SENSORS)
        has_none = set(lost) & set(LOST_CAMERA) and set(lost) & set(LOST_LIDAR)
        if not self._skips_lost or has_none:
            return sample
        return with_losses(sample, _SENSORS, drop=True)

    def _corrupted(self, index: int) -> Sample:
        sample = self._frames[index]
        if self._corruption is None:
            return sample
        around = Surroundings(
            self._labels,
            self.grid,
            self._frames.volume_from_label(sample.stem),
            self._frames.lidar_position_m(index),
            partial(self._read_previous, index),
        )
        return corrupt(sample, self._corruption, self._severity, around)

    def _read_previous(self, index: int) -> Sample | None:
        before = self._frames.previous(index)
        return None if before is None else self._frames[before]

    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a field of a Sample."""
        having = set(self._frames.stems_with(field))
        return [stem for stem in self.stems if stem in having]

    def neighbors(self, count: int) -> list[list[int]]:
        """Not available: the chosen frames need not be neighbors.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"corrupted frames have no neighbors, expected 0, got {count}")
