"""Samplers: which frames a process reads, and in which order."""

import math
from collections import Counter
from collections.abc import Iterator, Sized

import numpy as np
from jaxtyping import Float64
from torch.utils.data import Sampler

from dataset.sample import SampleKey


class EpochBatches(Sampler[list[SampleKey]]):
    """Batches of a shuffled training epoch, which may start mid-epoch.

    The order depends only on the seed and the epoch. Every process gets the same number of frames:
    if needed, the first frames of the order are repeated. With ``repeats``, every epoch has the
    same length, and a frame of factor 2.3 comes two or three times.

    Args:
        dataset: The data set to sample from.
        batch_size: Frames per batch; the last batch of an epoch may be smaller.
        seed: Random seed of the order.
        rank: Index of this process.
        world_size: Number of processes.
        repeats: How often each frame comes in an epoch on average, at least 1; None for once.

    Raises:
        ValueError: If the data set is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        repeats: Float64[np.ndarray, " F"] | None = None,
    ):
        if len(dataset) == 0:
            raise ValueError("the training split has no frames")
        self.repeats = repeats
        # At least the sum, so that each frame comes at least once; not for a rounding error more.
        self.num_frames = len(dataset) if repeats is None else math.ceil(repeats.sum() - 1e-6)
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
        order = self._order(np.random.default_rng((self.seed, self.epoch)))
        padding = -len(order) % self.world_size
        padded = [order[place % len(order)] for place in range(len(order) + padding)]
        share = padded[self.rank :: self.world_size]
        for start in range(self.first_batch * self.batch_size, len(share), self.batch_size):
            yield share[start : start + self.batch_size]

    def _order(self, rng: np.random.Generator) -> list[SampleKey]:
        """Draw the frames of an epoch in their order."""
        if self.repeats is None:
            indices = rng.permutation(self.num_frames)
        else:
            # Evenly spaced places on a line where each frame has its factor as length.
            frames = rng.permutation(len(self.repeats))
            ends = np.cumsum(self.repeats[frames])
            places = (np.arange(self.num_frames) + rng.random()) * (ends[-1] / self.num_frames)
            chosen = np.searchsorted(ends, places, side="right").clip(max=len(frames) - 1)
            indices = rng.permutation(frames[chosen])
        seen: Counter[int] = Counter()
        keys = []
        for index in indices.tolist():
            keys.append(SampleKey(index, self.epoch, seen[index]))
            seen[index] += 1
        return keys


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
