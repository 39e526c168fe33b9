"""Samplers: which frames a process reads, and in which order."""

import math
from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from dataset.sample import SampleKey


class EpochBatches(Sampler[list[SampleKey]]):
    """Batches of a shuffled training epoch, which may start mid-epoch.

    The order depends only on the seed and the epoch. Every process gets the same number of frames:
    if needed, the first frames of the order are repeated.

    Args:
        dataset: The data set to sample from.
        batch_size: Frames per batch; the last batch of an epoch may be smaller.
        seed: Random seed of the order.
        rank: Index of this process.
        world_size: Number of processes.

    Raises:
        ValueError: If the data set is empty.
    """

    def __init__(
        self, dataset: Sized, batch_size: int, *, seed: int, rank: int = 0, world_size: int = 1
    ):
        if len(dataset) == 0:
            raise ValueError("the training split has no frames")
        self.num_frames = len(dataset)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start_at(0)

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Set the epoch of the next pass, and the batch that it starts from."""
        self.epoch = epoch
        self.first_batch = batch

    def layout(self) -> dict[str, int]:
        """Return what decides, beside the epoch, which frames each batch has."""
        return {
            "frames": self.num_frames,
            "batch size": self.batch_size,
            "processes": self.world_size,
            "seed": self.seed,
        }

    def __len__(self) -> int:
        """Number of batches in a full epoch, wherever the next pass starts."""
        return math.ceil(math.ceil(self.num_frames / self.world_size) / self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yield the batches from the set start to the end of the epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_frames)
        padded = np.resize(order, math.ceil(self.num_frames / self.world_size) * self.world_size)
        share = padded[self.rank :: self.world_size]
        for start in range(self.first_batch * self.batch_size, len(share), self.batch_size):
            chunk = share[start : start + self.batch_size]
            yield [SampleKey(int(index), self.epoch) for index in chunk]


class EvalIndices(Sampler[int]):
    """This process's share of the frames for evaluation; each frame is in exactly one share.

    Shares may differ by one frame, because padding would count a frame twice.

    Args:
        dataset: The data set to sample from.
        rank: Index of this process.
        world_size: Number of processes.
    """

    def __init__(self, dataset: Sized, *, rank: int = 0, world_size: int = 1):
        self.indices = range(rank, len(dataset), world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
