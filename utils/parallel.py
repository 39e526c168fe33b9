"""The same work on many things at once: worker processes, a progress bar, results in order."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from utils.progress import with_progress

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_THINGS_AT_ONCE = 4
"""What a process fetches each time; more would make the bar jump."""


def map_in_processes(
    function: Callable[[Thing], Result],
    things: Sequence[Thing],
    *,
    title: str,
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Result]:
    """Apply a function to each thing; the results come in the order of the things.

    Args:
        function: Of a module's top level, or a ``functools.partial`` of one, for it is sent to
            other processes.
        things: What to apply it to.
        title: Name of the progress bar.
        workers: Processes; None for one a core. A single one works in this process.
        progress: Whether to show a bar.

    Raises:
        ValueError: If ``workers`` is not positive.
        RuntimeError: If a process dies.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    processes = min(workers or os.cpu_count() or 1, -(-len(things) // _THINGS_AT_ONCE) or 1)
    results = map(function, things) if processes == 1 else _map(function, things, processes)
    yield from with_progress(results, title, len(things), shown=progress)


def _map(
    function: Callable[[Thing], Result], things: Sequence[Thing], processes: int
) -> Iterator[Result]:
    # A server process that has no threads forks the workers: fast, and safe beside other threads.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    inner = function.func if isinstance(function, functools.partial) else function
    context.set_forkserver_preload([inner.__module__])
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(function, things, chunksize=_THINGS_AT_ONCE)
        except BrokenProcessPool as error:
            message = "a worker process died, probably for want of memory; take fewer workers"
            raise RuntimeError(message) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    """Set a worker process up: no threads of its own, and Ctrl-C ends it without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    cv2.setNumThreads(1)
