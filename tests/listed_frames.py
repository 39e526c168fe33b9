"""Samples in memory as a data set."""

from collections.abc import Sequence

from dataset.frame_dataset import FrameDataset
from dataset.sample import Sample


class ListedFrames(FrameDataset):
    """Samples given as a list.

    Args:
        samples: The samples.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.stems = [sample.stem for sample in samples]
        self.scenes = [sample.scene for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def stems_with(self, field: str) -> list[str]:
        return [s.stem for s in self.samples if getattr(s, field) is not None]

    def neighbors(self, count: int) -> list[list[int]]:
        return [[] for _ in self.samples]
