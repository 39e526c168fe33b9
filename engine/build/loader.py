"""The data loader of all scripts: frames read by worker processes, which cannot hang it."""

import ctypes
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
from torch import Tensor
from torch.utils.data import DataLoader

SHARED_MEMORY = Path("/dev/shm")
"""Where worker processes put their batches."""
TIMEOUT_S = 300
"""Longest time without a batch; reading one takes seconds, also from a slow disk."""
PREFETCH = 2
"""Batches that each worker reads ahead."""
KEPT_BYTES = 256 * 2**20
"""Free memory that a worker keeps at most; a full-size frame needs a tenth of it."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # Of malloc.h.
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # Of glibc; larger arrays are returned.


class FrameLoader(DataLoader):
    """A ``DataLoader`` that checks the shared memory first, and stops if no batch comes.

    A worker that finds the shared memory full drops its batch, so that the loader would wait for
    it forever.

    Args:
        frames: The data set.
        num_workers: Number of worker processes; 0 reads in this process.
        options: Other arguments of ``DataLoader``.
    """

    def __init__(self, frames: Any, *, num_workers: int, **options: Any) -> None:
        if num_workers:
            options |= {"timeout": TIMEOUT_S, "prefetch_factor": PREFETCH}
        super().__init__(frames, num_workers=num_workers, worker_init_fn=_set_up_worker, **options)
        self._has_room = num_workers == 0

    def __iter__(self) -> Any:
        """Start a pass over the frames.

        Raises:
            ValueError: If the batches that workers read ahead do not fit into the shared memory.
        """
        if not self._has_room:
            self._check_shared_memory()
            self._has_room = True
        return super().__iter__()

    def _check_shared_memory(self) -> None:
        """Compare the batches that workers read ahead, of the first frame's size, with the room."""
        first = next(iter(self.sampler if self.batch_sampler is None else self.batch_sampler), None)
        if first is None or not SHARED_MEMORY.is_dir():
            return
        keys = [first] if self.batch_sampler is None else list(first)
        batch_bytes = len(keys) * sum(tensor.nbytes for tensor in tensors_of(self.dataset[keys[0]]))
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        needed = processes * self.num_workers * PREFETCH * batch_bytes
        free = shutil.disk_usage(SHARED_MEMORY).free
        if needed > free:
            of_processes = f"{processes} processes × " if processes > 1 else ""
            raise ValueError(
                f"{SHARED_MEMORY} has {free / 1e6:.0f} MB free, but data loader workers need "
                f"{needed / 1e6:.0f} MB: {of_processes}{self.num_workers} workers × {PREFETCH} "
                f"batches of {batch_bytes / 1e6:.1f} MB. Start Docker with a larger --shm-size or "
                "with --ipc host, or lower runtime.num_workers (0 reads in the training process)"
            )


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a sample: in dataclasses, dicts, lists and tuples, at any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_of(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors_of(getattr(value, field.name))


def _set_up_worker(worker: int) -> None:
    """Keep OpenCV from starting threads in a worker process, and its freed memory for the next."""
    del worker
    cv2.setNumThreads(0)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Keep the memory of freed arrays in this process instead of returning it to the system.

    Otherwise each frame gets new pages for its decoded images, and the system fills them with
    zeros first. Only glibc has this option; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
