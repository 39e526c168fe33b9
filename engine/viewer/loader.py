"""Reads the frames that will be shown next while another is looked at."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


def upcoming(index: int, count: int, ahead: int) -> list[int]:
    """A place of a sequence that goes round, and up to ``ahead`` places after it."""
    return [(index + step) % count for step in range(min(ahead + 1, count))]


class Loader(Generic[Item]):
    """Reads items in one thread of its own, the wanted one first, and keeps the last ones.

    Only one thread may call its methods.

    Args:
        read: Reads an item.
        keep: Items kept; the ones asked for longest ago go first.

    Raises:
        ValueError: If nothing is to be kept.
    """

    def __init__(self, read: Callable[[int], Item], *, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"at least one item must be kept, got {keep}")
        self._read, self._keep = read, keep
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._futures: dict[int, Future[Item]] = {}

    def want(self, indices: list[int]) -> None:
        """Have these read, in this order; what waits to be read and is not among them will not be.

        Args:
            indices: Places in the sequence; those beyond the first ``keep`` are not read.
        """
        indices = indices[: self._keep]
        for index, future in list(self._futures.items()):
            if index not in indices and future.cancel():
                del self._futures[index]
        # One that waits behind others has to be queued anew to come first.
        waiting = [index for index in indices if index in self._futures]
        for index in waiting:
            if self._futures[index].cancel():
                del self._futures[index]
        for index in indices:
            is_known = index in self._futures
            future = self._futures.pop(index) if is_known else self._submit(index)
            self._futures[index] = future  # Behind those that were asked for before.
        while len(self._futures) > self._keep:
            del self._futures[next(iter(self._futures))]

    def is_ready(self, index: int) -> bool:
        """Whether an item that was asked for has been read, or could not be."""
        return index in self._futures and self._futures[index].done()

    def get(self, index: int) -> Item:
        """An item that was asked for; waits for it. What reading it raised is raised here."""
        return self._futures[index].result()

    def close(self) -> None:
        """Read nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, index: int) -> Future[Item]:
        return self._pool.submit(self._read, index)
