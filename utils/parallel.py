"""Map a function over items in worker processes, with a progress bar, results in order."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from utils.progress import with_progress

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK_SIZE = 4
"""Suits items that take less than a second."""


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    title: str,
    workers: int | None = None,
    progress: bool = True,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[Result]:
    """Apply a function to each item and yield the results in order.

    Args:
        function: A top-level function or a ``functools.partial`` of one, so that it can be
            pickled.
        items: Its arguments.
        title: Name of the progress bar.
        workers: Number of processes; None for one per core. One worker runs in this process.
        progress: Whether to show a bar.
        chunk_size: Items that a worker fetches at a time; more would make the bar jump.

    Raises:
        ValueError: If ``workers`` is not positive.
        ChildProcessError: If a worker dies.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    processes = min(workers or os.cpu_count() or 1, -(-len(items) // chunk_size) or 1)
    results = (
        map(function, items) if processes == 1 else _map(function, items, processes, chunk_size)
    )
    yield from with_progress(results, title, len(items), shown=progress)


def _map(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int, chunk_size: int
) -> Iterator[Result]:
    # A fork server has no threads, so that forking from it is fast and safe.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    inner = function.func if isinstance(function, functools.partial) else function
    context.set_forkserver_preload([inner.__module__])
    with ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk_size)
        except BrokenProcessPool as error:
            message = "a worker process died, probably out of memory; use fewer --workers"
            raise ChildProcessError(message) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def start_worker() -> None:
    """Set up a worker process: it computes in one thread, and ends with the process it works for.

    Ctrl-C ends it without a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the parent process ends, and end this one.

    A killed process cannot stop its workers, which would wait for work forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker process has a parent"
    parent.join()
    os._exit(1)
