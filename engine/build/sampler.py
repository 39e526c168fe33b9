"""Which frames a process sees, in which order."""

import math
from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from dataset.sample import SampleKey


class EpochBatches(Sampler[list[SampleKey]]):
    """Batches of a shuffled epoch for training; may start in its middle.

    The order depends on the seed and the epoch only. Every process gets as many frames: where the
    number of processes does not divide that of the frames, the first of the order come twice.

    Args:
        dataset: What to draw from.
        batch_size: Frames a batch; the last batch of an epoch may be smaller.
        seed: Seed of the orders.
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
        """Make the next pass one over ``epoch``, from its batch number ``batch`` on."""
        self.epoch = epoch
        self.first_batch = batch

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever the next pass starts."""
        return math.ceil(math.ceil(self.num_frames / self.world_size) / self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Batches from the set start to the end of the set epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_frames)
        padded = np.resize(order, math.ceil(self.num_frames / self.world_size) * self.world_size)
        mine = padded[self.rank :: self.world_size]
        for start in range(self.first_batch * self.batch_size, len(mine), self.batch_size):
            chunk = mine[start : start + self.batch_size]
            yield [SampleKey(int(index), self.epoch) for index in chunk]


class EvalIndices(Sampler[int]):
    """This process's share of the frames, each frame in exactly one share, for evaluation.

    Shares may differ by one frame: padding would count a frame twice.

    Args:
        dataset: What to draw from.
        rank: Index of this process.
        world_size: Number of processes.
    """

    def __init__(self, dataset: Sized, *, rank: int = 0, world_size: int = 1):
        self.indices = range(rank, len(dataset), world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
