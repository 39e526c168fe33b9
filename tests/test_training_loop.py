from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook, LoggerHook

from engine.benchmark.timing import Clock
from engine.benchmark.training_loop import time_training_loop
from tests.toy_training import write_toy_config
from utils.config import load_config
from utils.distributed import Process


def measure(folder: Path, **values: int) -> dict:
    cfg = load_config(write_toy_config(folder, gradient_accumulation=1))
    runs = {"iterations": 5, "warmup": 2, "batch_size": 4} | values
    return time_training_loop(cfg, Process(0, 1, torch.device("cpu")), amp="off", **runs)


def test_the_loop_is_timed_beside_its_step(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert 0 < found["loop"]["p10_ms"] <= found["loop"]["median_ms"]
    assert found["share_of_step"] == found["step"]["median_ms"] / found["loop"]["median_ms"]
    assert 0 < found["waiting_share"] < 1  # This process reads the frames itself.
    assert found["peak_bytes"] is None


@pytest.mark.parametrize("hook", ["hooks.SeedHook", "checkpoint_hook.CheckpointHook"])
def test_all_frames_and_hooks_of_the_loop_count_and_no_hook_is_waiting_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    now = [0.0]
    monkeypatch.setattr("engine.benchmark.training_loop.time.perf_counter", lambda: now[0])

    def tick(self: Hook, runner: object, **_: object) -> None:
        now[0] += 0.5

    monkeypatch.setattr(f"engine.training.{hook}.after_train_iter", tick, raising=False)
    found = measure(tmp_path)
    assert found["loop"]["median_ms"] == 500
    # Six frames in batches of 4 and 2: after the second iteration 4, 2, 4, 2 and 4 of them.
    assert found["frames_per_s"] == pytest.approx(16 / 2.5)
    assert found["waiting_share"] == 0


def test_memory_is_noted_before_the_log_resets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(Clock, "note_peak", lambda self: calls.append("note"))
    monkeypatch.setattr(Clock, "reset_peak", lambda self: calls.append("start"))
    monkeypatch.setattr(
        LoggerHook, "after_train_iter", lambda *_, **__: calls.append("log"), raising=False
    )
    measure(tmp_path, iterations=2, warmup=1)
    assert calls[:6] == ["note", "start", "log", "note", "log", "note"]


def test_nothing_stays_in_the_folder_of_the_data(tmp_path: Path) -> None:
    measure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.py"]
