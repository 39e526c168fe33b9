"""Frames with the inputs of a network, and labels on the grid of a benchmark."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dataset.frame_dataset import FrameDataset
from dataset.sample import Sample
from dataset.sample_dataset import SampleDataset


class BenchmarkFrames(FrameDataset):
    """Frames with the inputs of a network and the labels of a benchmark.

    Args:
        inputs: The frames, without labels.
        labels: The same frames, with occupancy on the benchmark's grid.
        volume_from_label: Returns the transform from the label frame of a frame to the network's
            volume, by index; None if both are the same.

    Attributes:
        stems: Stem of each frame.
        labels: As given.
    """

    def __init__(
        self,
        inputs: SampleDataset,
        labels: SampleDataset,
        volume_from_label: Callable[[int], Float64[np.ndarray, "4 4"]] | None = None,
    ) -> None:
        assert inputs.stems == labels.stems, "both must be of one split"
        self._inputs, self.labels, self._volume_from_label = inputs, labels, volume_from_label
        self.stems, self.scenes = inputs.stems, inputs.scenes
        self.grid, self.image_size = labels.grid, inputs.image_size
        self._index_of = {stem: index for index, stem in enumerate(self.stems)}

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame and its labels."""
        return replace(self._inputs[index], occupancy=self.labels[index].occupancy)

    def stems_with(self, field: str) -> list[str]:
        """Return the stems that have the files of a field of a Sample."""
        return (self.labels if field == "occupancy" else self._inputs).stems_with(field)

    def neighbors(self, count: int) -> list[list[int]]:
        """Return, for each frame, the nearest frames in time of its scene."""
        return self._inputs.neighbors(count)

    def previous(self, index: int) -> int | None:
        """Return the index of the frame before, in the same scene; None if there is none."""
        return self._inputs.previous(index)

    def lidar_position_m(self, index: int) -> Float64[np.ndarray, "3"]:
        """Return the position of the LiDAR in the frame of the points [m]."""
        return self._inputs.lidar_position_m(index)

    def index_of(self, stem: str) -> int:
        """Return the index of a frame."""
        return self._index_of[stem]

    def volume_from_label(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the label frame of a frame to the network's volume."""
        if self._volume_from_label is None:
            return np.eye(4)
        return self._volume_from_label(self.index_of(stem))
