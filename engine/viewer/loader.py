"""Background loading of the frames to show next."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


def upcoming(index: int, count: int, ahead: int) -> list[int]:
    """Return an index of a cyclic sequence, and up to ``ahead`` indices after it."""
    return [(index + step) % count for step in range(min(ahead + 1, count))]


class Loader(Generic[Item]):
    """Reads items in a background thread, most wanted first, and caches recent ones.

    Only one thread may call its methods.

    Args:
        read: Reads an item.
        keep: Size of the cache; the least recently requested items are evicted first.

    Raises:
        ValueError: If ``keep`` is below 1.
    """

    def __init__(self, read: Callable[[int], Item], *, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._read, self._keep = read, keep
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._futures: dict[int, Future[Item]] = {}

    def want(self, indices: list[int]) -> None:
        """Request these items in this order, and cancel all other pending requests.

        Args:
            indices: Indices of items; those beyond the first ``keep`` are ignored.
        """
        indices = indices[: self._keep]
        for index, future in list(self._futures.items()):
            if index not in indices and future.cancel():
                del self._futures[index]
        # Pending items must be queued again to move to the front.
        waiting = [index for index in indices if index in self._futures]
        for index in waiting:
            if self._futures[index].cancel():
                del self._futures[index]
        for index in indices:
            is_known = index in self._futures
            future = self._futures.pop(index) if is_known else self._submit(index)
            self._futures[index] = future  # Most recently requested last.
        while len(self._futures) > self._keep:
            del self._futures[next(iter(self._futures))]

    def is_ready(self, index: int) -> bool:
        """Return whether a requested item has been read, or has failed."""
        return index in self._futures and self._futures[index].done()

    def get(self, index: int) -> Item:
        """Wait for a requested item and return it, or raise the error of reading it."""
        return self._futures[index].result()

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, index: int) -> Future[Item]:
        return self._pool.submit(self._read, index)
