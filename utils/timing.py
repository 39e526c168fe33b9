"""How long a computation takes on its device, as a whole and part by part."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Timing:
    """Times of many runs.

    Attributes:
        median_ms: Median [ms].
        p10_ms: The tenth part of the runs was faster [ms].
        p90_ms: The tenth part of the runs was slower [ms].
    """

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of_runs(cls, times_ms: list[float]) -> "Timing":
        """Sum up at least one run."""
        p10, median, p90 = np.percentile(times_ms, (10, 50, 90)).tolist()
        return cls(median, p10, p90)


class Clock:
    """Reads the time on a device: CUDA events in its stream, the processor's counter elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"

    def mark(self) -> Any:
        """A point in time: when all that was asked of the device until now is done."""
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Wait until the device is idle."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, start: Any, end: Any) -> float:
        """Time between two marks [ms]; needs a ``wait`` after the second."""
        return start.elapsed_time(end) if self.on_gpu else 1e3 * (end - start)

    def reset_peak(self) -> None:
        """Forget the largest use of memory until now."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int | None:
        """Largest memory of all tensors at once since ``reset_peak``; None on a CPU.

        CUDA graphs keep memory of their own, which torch does not count; here it counts in full.
        """
        if not self.on_gpu:
            return None
        segments = torch.cuda.memory_snapshot()
        kept = [part["total_size"] for part in segments if part["segment_pool_id"] != (0, 0)]
        return torch.cuda.max_memory_allocated(self.device) + sum(kept)


def time_runs(run: Callable[[], Any], clock: Clock, iterations: int, warmup: int) -> Timing:
    """Time whole runs, each on an idle device: what is timed includes starting the kernels.

    Afterwards the clock's peak memory is that of the timed runs.

    Args:
        run: What is timed; its result is dropped.
        clock: The clock of its device.
        iterations: Number of timed runs, at least 1.
        warmup: Number of runs before.
    """
    for _ in range(warmup):
        run()
    clock.wait()
    clock.reset_peak()
    times_ms = []
    for _ in range(iterations):
        start = clock.mark()
        run()
        end = clock.mark()
        clock.wait()
        times_ms.append(clock.milliseconds(start, end))
    return Timing.of_runs(times_ms)


def time_stages(
    run: Callable[[], Any], network: nn.Module, clock: Clock, iterations: int, warmup: int
) -> dict[str, Timing]:
    """Time the network's parts within whole runs, without its knowledge.

    Args:
        run: Calls the network; its result is dropped.
        network: Each direct part of it that a run calls is a stage.
        clock: The clock of its device.
        iterations: Number of timed runs, at least 1.
        warmup: Number of runs before.

    Returns:
        Times by the part's name, in the order of the calls.
    """
    for _ in range(warmup):
        run()
    times_ms: dict[str, list[float]] = {}
    with watch_stages(network, lambda _: clock.mark()) as calls:
        for _ in range(iterations):
            calls.clear()
            clock.wait()
            run()
            clock.wait()
            passed_ms: dict[str, float] = {}
            for name, start, end in calls:
                passed_ms[name] = passed_ms.get(name, 0.0) + clock.milliseconds(start, end)
            for name, passed in passed_ms.items():
                times_ms.setdefault(name, []).append(passed)
    return {name: Timing.of_runs(times) for name, times in times_ms.items()}


class Call(NamedTuple):
    """One call of a part of a network: its name, and what was read before and after."""

    name: str
    before: Any
    after: Any


@contextmanager
def watch_stages(network: nn.Module, read: Callable[[Any], Any]) -> Iterator[list[Call]]:
    """Read something before and after each call of each direct part of a network.

    For so long, stand-ins take the parts' places. Hooks would be compiled with a compiled part.

    Args:
        network: The network.
        read: Called with the arguments before a call, and with the result after it.

    Yields:
        The calls, filled while the context lasts.
    """
    calls: list[Call] = []
    parts = dict(network.named_children())
    # An instance's own attributes come before the parts that torch keeps in a table.
    vars(network).update({name: _StandIn(part, name, read, calls) for name, part in parts.items()})
    try:
        yield calls
    finally:
        for name in parts:
            del vars(network)[name]


class _StandIn:
    """Does what a part of a network does, and writes its calls down."""

    def __init__(
        self, part: nn.Module, name: str, read: Callable[[Any], Any], calls: list[Call]
    ) -> None:
        self._part, self._name, self._read, self._calls = part, name, read, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = self._read((args, kwargs))
        result = self._part(*args, **kwargs)
        self._calls.append(Call(self._name, before, self._read(result)))
        return result
