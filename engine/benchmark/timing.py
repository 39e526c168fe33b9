"""Time computations on their device, as a whole and by stage."""

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
    """Statistics of many timed runs.

    Attributes:
        median_ms: Median [ms].
        p10_ms: 10th percentile [ms].
        p90_ms: 90th percentile [ms].
    """

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of_runs(cls, times_ms: list[float]) -> "Timing":
        """Summarize at least one run."""
        p10, median, p90 = np.percentile(times_ms, (10, 50, 90)).tolist()
        return cls(median, p10, p90)


class Clock:
    """Reads the time on a device: CUDA events on a GPU, the CPU clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"
        self._noted_bytes = 0

    def mark(self) -> Any:
        """Mark the time at which all work queued so far is done."""
        if not self.on_gpu:
            return time.perf_counter()
        # In a CUDA graph, only an external event can be read after a replay.
        is_external = torch.cuda.is_current_stream_capturing()
        event = torch.cuda.Event(enable_timing=True, external=is_external)
        event.record()
        return event

    def wait(self) -> None:
        """Wait until the device is idle."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, start: Any, end: Any) -> float:
        """Time between two marks [ms]; call ``wait`` after the second one."""
        return start.elapsed_time(end) if self.on_gpu else 1e3 * (end - start)

    def reset_peak(self) -> None:
        """Reset the peak memory statistics."""
        self._noted_bytes = 0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def note_peak(self) -> None:
        """Remember the peak so far, before other code resets it, as MMEngine's log does."""
        if self.on_gpu:
            peak_bytes = torch.cuda.max_memory_allocated(self.device)
            self._noted_bytes = max(self._noted_bytes, peak_bytes)

    def peak_bytes(self) -> int | None:
        """Peak memory since ``reset_peak`` [bytes]; None on a CPU.

        Private pools of CUDA graphs, which torch does not count, are counted in full.
        """
        if not self.on_gpu:
            return None
        self.note_peak()
        segments = torch.cuda.memory_snapshot()
        kept = [part["total_size"] for part in segments if part["segment_pool_id"] != (0, 0)]
        return self._noted_bytes + sum(kept)


def time_runs(run: Callable[[], Any], clock: Clock, iterations: int, warmup: int) -> Timing:
    """Time whole runs, each on an idle device, kernel launches included.

    Afterwards the peak memory of the clock is that of the timed runs.

    Args:
        run: The function to time; its result is dropped.
        clock: The clock of its device.
        iterations: Number of timed runs, at least 1.
        warmup: Number of untimed runs before them.
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
    """Time the parts of a network within whole runs.

    Args:
        run: Calls the network; its result is dropped.
        network: Each direct submodule that a run calls is a stage.
        clock: The clock of its device.
        iterations: Number of timed runs, at least 1.
        warmup: Number of untimed runs before them.

    Returns:
        Times by submodule name, in call order.
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


def time_captured_stages(
    run: Callable[[], Any],
    capture: Callable[[], Any],
    network: nn.Module,
    clock: Clock,
    iterations: int,
) -> dict[str, Timing]:
    """Time the parts of a network within replays of a CUDA graph.

    Args:
        run: Calls the network, which replays its graph; its result is dropped.
        capture: Makes the next run capture the graph anew; called before and after timing.
        network: Each direct submodule that a run calls is a stage.
        clock: The clock of its GPU.
        iterations: Number of timed runs, at least 1.

    Returns:
        Times by submodule name, in call order.
    """
    with watch_stages(network, lambda _: clock.mark()) as calls:
        capture()
        run()
        # Warmup runs came before: the last call of each part is the one in the graph.
        in_graph: dict[str, Call] = {}
        for call in calls:
            in_graph.pop(call.name, None)
            in_graph[call.name] = call
        times_ms: dict[str, list[float]] = {name: [] for name in in_graph}
        for _ in range(iterations):
            clock.wait()
            run()
            clock.wait()
            for name, call in in_graph.items():
                times_ms[name].append(clock.milliseconds(call.before, call.after))
    capture()
    return {name: Timing.of_runs(times) for name, times in times_ms.items()}


class Call(NamedTuple):
    """One call of a submodule: its name, and what was read before and after."""

    name: str
    before: Any
    after: Any


@contextmanager
def watch_stages(network: nn.Module, read: Callable[[Any], Any]) -> Iterator[list[Call]]:
    """Read something before and after each call of each direct submodule of a network.

    Proxies replace the submodules meanwhile: hooks would be compiled with a compiled submodule.

    Args:
        network: The network.
        read: Called with the arguments before each call, and with the result after it.

    Yields:
        The calls, filled while the context is open.
    """
    calls: list[Call] = []
    parts = dict(network.named_children())
    # Instance attributes take precedence over the submodules that torch keeps in a table.
    vars(network).update({name: _Proxy(part, name, read, calls) for name, part in parts.items()})
    try:
        yield calls
    finally:
        for name in parts:
            del vars(network)[name]


class _Proxy:
    """Forwards to a submodule and records its calls."""

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
