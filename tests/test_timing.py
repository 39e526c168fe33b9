from types import SimpleNamespace

import pytest
import torch
from torch import nn

from engine.benchmark import timing as module
from engine.benchmark.timing import Clock, Timing, time_runs, time_stages, watch_stages

CPU = torch.device("cpu")


class StepClock(Clock):
    """Writes down what it is asked, and lets a millisecond pass between any two marks."""

    def __init__(self):
        super().__init__(CPU)
        self.log = []
        self.now = 0.0

    def mark(self):
        self.log.append("mark")
        self.now += 1e-3
        return self.now

    def wait(self):
        self.log.append("wait")

    def reset_peak(self):
        self.log.append("reset")


class Halves(nn.Module):
    """Calls its first part twice, its second once and its third never."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.ReLU(), nn.Tanh(), nn.Sigmoid()

    def forward(self, x):
        assert not self.first.inplace
        return self.second(input=self.first(self.first(x)))


def test_percentiles():
    timing = Timing.of_runs([float(n) for n in range(11, 0, -1)])
    assert (timing.p10_ms, timing.median_ms, timing.p90_ms) == (2, 6, 10)


def test_every_run_starts_on_an_idle_device_and_is_waited_for():
    clock = StepClock()
    timing = time_runs(lambda: clock.log.append("run"), clock, iterations=2, warmup=1)
    timed = ["mark", "run", "mark", "wait"]
    assert clock.log == ["run", "wait", "reset", *timed, *timed]
    assert timing.median_ms == pytest.approx(1.0)


def test_a_clock_reads_milliseconds(monkeypatch):
    now = [5.0]

    def run():
        now[0] += 0.01

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    clock = Clock(CPU)
    timing = time_runs(run, clock, iterations=3, warmup=0)
    assert (timing.p10_ms, timing.median_ms, timing.p90_ms) == pytest.approx((10, 10, 10))
    assert clock.peak_bytes() is None


def test_stages_are_the_parts_that_are_called_with_all_their_calls():
    network, clock = Halves(), StepClock()
    stages = time_stages(lambda: network(torch.ones(2)), network, clock, iterations=3, warmup=2)
    assert list(stages) == ["first", "second"]
    assert stages["first"].median_ms == pytest.approx(2.0)
    assert stages["second"].p90_ms == pytest.approx(1.0)
    one_run = ["wait", *["mark"] * 6, "wait"]
    assert clock.log == 3 * one_run


def test_what_is_read_are_arguments_and_results():
    network, one = Halves(), torch.ones(1)
    with watch_stages(network, lambda values: values) as calls:
        result = network(one)
    assert [call.name for call in calls] == ["first", "first", "second"]
    assert calls[0].before == ((one,), {})
    assert calls[2].before == ((), {"input": one})
    assert calls[2].after is result


def test_the_network_is_as_before_also_after_an_error():
    network = Halves()
    before = set(vars(network))
    with pytest.raises(TypeError), watch_stages(network, lambda _: None):
        network("no tensor")
    assert set(vars(network)) == before
    assert isinstance(network.first, nn.ReLU)


def test_a_compiled_part_is_watched_from_outside():
    network, seen = Halves(), []

    def call_uncompiled(*args, **kwargs):
        seen.append(len(calls))
        return nn.Tanh()(*args, **kwargs)

    # Where torch keeps what ``compile`` made of a module, its hooks included.
    network.second._compiled_call_impl = call_uncompiled
    with watch_stages(network, lambda _: None) as calls:
        network(torch.ones(1))
    assert seen == [2]
    assert [call.name for call in calls] == ["first", "first", "second"]


def test_a_noted_peak_survives_a_reset_by_other_code(monkeypatch):
    peak = [300]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    pools = [dict(total_size=20, segment_pool_id=pool) for pool in ((0, 0), (0, 1))]
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: pools)
    clock = Clock(torch.device("cuda"))
    clock.note_peak()
    peak[0] = 100
    assert clock.peak_bytes() == 320
    clock.reset_peak()
    assert clock.peak_bytes() == 120


@pytest.mark.gpu
def test_a_gpu_is_waited_for_and_its_memory_seen():
    clock = Clock(torch.device("cuda"))
    matrix = torch.randn(4096, 4096, device="cuda")
    timing = time_runs(lambda: matrix @ matrix, clock, iterations=3, warmup=1)
    # 137 GFLOP; no GPU does them in the time that starting the kernel takes.
    assert timing.p10_ms > 0.1
    assert clock.peak_bytes() >= 2 * matrix.nbytes
