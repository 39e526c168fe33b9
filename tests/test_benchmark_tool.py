import json
import logging
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.benchmark import floor, synthetic
from tests.benchmark_config import write_config
from tools.benchmark import main, options_of, parse_arguments

SCRIPT = Path(__file__).parents[1] / "tools" / "benchmark.py"
CPU = torch.device("cpu")


def options(line, device=CPU):
    return options_of(parse_arguments(["--py-config", "x.py", *line.split()]), device)


def test_defaults():
    found = options("")
    assert (found.precisions, found.batch_sizes, found.compiled) == (("fp32",), (), None)
    assert (found.iterations, found.warmup) == (50, 10)
    assert not found.profile
    assert options("", torch.device("cuda")).precisions == ("fp32", "bf16", "fp16")


def test_options():
    found = options(
        "--precision bf16 fp32 --train --batch-size 1 4 --iterations 7 --warmup 2 --profile "
        "--compile-mode max-autotune-no-cudagraphs --compile decoder"
    )
    assert (found.precisions, found.batch_sizes) == (("bf16", "fp32"), (1, 4))
    assert (found.iterations, found.warmup) == (7, 2)
    assert (found.compiled, found.compile_mode) == (("decoder",), "max-autotune-no-cudagraphs")
    assert found.profile


def test_training_has_a_batch_of_one_by_default():
    assert options("--train").batch_sizes == (1,)


def test_training_from_files_needs_no_made_up_steps():
    found = options("--train-files --batch-size 4 8")
    assert (found.batch_sizes, found.steps, found.files) == ((4, 8), False, True)
    both = options("--train --train-files")
    assert (both.batch_sizes, both.steps, both.files) == ((1,), True, True)
    assert not options("--train").files


def test_processes_are_those_of_the_training_loop_of_one_config():
    assert options("--train-files --processes 1 2").files
    for line in ("--processes 2", "--train-files --processes 2 --compare schedule.epochs=1"):
        with pytest.raises(ValueError, match="--processes measures the loop of"):
            options(line)


def test_each_number_of_processes_is_a_run_of_its_own(monkeypatch, tmp_path, capsys):
    commands = []

    def run(command, **_):
        number = int(command[4].partition("=")[2])
        commands.append(command[5:-1])
        time = dict(median_ms=1.0, p10_ms=1.0, p90_ms=1.0)
        row = dict(precision="fp32", batch_size=1, processes=number, frames_per_s=5.0 * number**0.9)
        row |= dict(loop=time, step=time, waiting_share=0.01, peak_bytes=None)
        facts = dict(device="CPU", torch="2", date="2026-01-02", config="tiny.py")
        Path(command[-1]).write_text(json.dumps(facts | {"training_files": [row]}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("engine.benchmark.scaling.subprocess.run", run)
    line = ["--py-config", str(write_config(tmp_path)), "--train-files", "--processes", "1", "4"]
    out = tmp_path / "scaling.json"
    main(parse_arguments([*line, "--json", str(out), "--iterations", "3"]))
    child = [str(SCRIPT), "--py-config", line[1], "--train-files", "--iterations", "3", "--json"]
    assert commands == [child, child]
    assert [row["processes"] for row in json.loads(out.read_text())["training_files"]] == [1, 4]
    rows = [
        line.split("|")[1:] for line in capsys.readouterr().out.splitlines() if "batch 1" in line
    ]
    assert [[row[0].strip(), row[5].strip()] for row in rows] == [["1", "1.00"], ["4", "0.87"]]


def test_a_run_that_fails_is_named(monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr("engine.benchmark.scaling.subprocess.run", lambda *_, **__: failed)
    line = ["--py-config", str(write_config(tmp_path)), "--train-files", "--processes", "2"]
    with pytest.raises(ValueError, match="the run on 2 processes failed; its error is above"):
        main(parse_arguments(line))


def test_several_configs_are_measured_and_compared(monkeypatch, tmp_path, capsys):
    first = write_config(tmp_path)
    second = tmp_path / "other.py"
    second.write_text(f'_base_ = "{first}"')

    def measure(cfg, found, device):
        times = dict(median_ms=1.0 if "tiny" in str(cfg.filename) else 3.0)
        inference = {"fp32": dict(stages=dict(whole=times))}
        found = dict(inference=inference, end_to_end={}, training=[], training_files=[])
        return dict(config=cfg.filename) | found

    monkeypatch.setattr("tools.benchmark.benchmark", measure)
    monkeypatch.setattr("tools.benchmark.describe", lambda report: str(report["config"]))
    out = tmp_path / "both.json"
    main(parse_arguments(["--py-config", str(first), str(second), "--json", str(out)]))
    assert "3 (3.00)" in capsys.readouterr().out
    written = json.loads(out.read_text())["configs"]
    assert [report["config"] for report in written] == [str(first), str(second)]


def test_a_config_is_compared_with_other_values(monkeypatch, tmp_path, capsys):
    def measure(cfg, found, device):
        times = dict(median_ms=float(cfg.schedule.batch_size))
        inference = {"fp32": dict(stages=dict(whole=times))}
        return dict(inference=inference, end_to_end={}, training=[], training_files=[])

    monkeypatch.setattr("tools.benchmark.benchmark", measure)
    monkeypatch.setattr("tools.benchmark.describe", lambda report: str(report["config"]))
    line = ["--cfg-options", "schedule.batch_size=2", "--compare", "schedule.batch_size=6"]
    main(parse_arguments(["--py-config", str(write_config(tmp_path)), *line]))
    printed = capsys.readouterr().out
    assert "tiny.py schedule.batch_size=6" in printed
    assert "2 (1.00)" in printed
    assert "6 (3.00)" in printed


def test_only_a_gpu_captures_graphs():
    with pytest.raises(ValueError, match="--capture records a CUDA graph, which needs a GPU"):
        options("--capture")
    assert options("--capture", torch.device("cuda")).captured


def test_a_batch_size_without_training_is_rejected():
    with pytest.raises(ValueError, match="--batch-size needs --train"):
        options("--batch-size 4")


def test_compile_alone_is_what_the_config_can_say(monkeypatch, tmp_path):
    seen = []

    def measure(cfg, found, device):
        seen.append((cfg.runtime.compile, found.compiled))
        raise FloatingPointError

    monkeypatch.setattr("tools.benchmark.benchmark", measure)
    for line in ("", "--compile", "--compile head"):
        with pytest.raises(FloatingPointError):
            main(parse_arguments(f"--py-config {write_config(tmp_path)} {line}".split()))
    assert seen == [(False, None), (True, None), (True, ("head",))]


def test_tables_and_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(synthetic, "POINTS_PER_SWEEP", 500)
    monkeypatch.setitem(floor.MATRIX_SIZE, "cpu", 64)
    monkeypatch.setitem(floor.COPY_BYTES, "cpu", 2**16)
    out = tmp_path / "new" / "benchmark.json"
    line = "--modality lidar --iterations 2 --warmup 0 --train --cfg-options schedule.amp=fp16"
    config = write_config(tmp_path)
    main(parse_arguments([*f"--py-config {config} --json {out} {line}".split()]))
    printed, report = capsys.readouterr().out, json.loads(out.read_text())
    assert report["modality"] == "lidar"
    assert "image_encoder" not in report["parameters"]
    # The precision of the command line holds, not the config's.
    assert [row["precision"] for row in report["training"]] == ["fp32"]
    assert "| LiDAR encoder " in printed
    assert "| all terms " in printed
    assert f"Written to {out}" in printed


def test_a_mistake_ends_with_one_line_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--py-config", "nowhere.py"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 1
    printed = capsys.readouterr().err
    assert printed.strip().splitlines()[-1].startswith("error: config nowhere.py not found")
    assert "Traceback" not in printed
