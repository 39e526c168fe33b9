"""Time the loop of train.py on several processes, and compare numbers of processes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from engine.benchmark.measure import MeasureOptions, Report, time_loops
from engine.benchmark.table import figures, gigabytes, markdown, time_text
from utils.distributed import Process

NOTE = """\
ms: median (p10–p90) of an iteration of the first process; the step alone reduces no gradients.
frames/s: of all processes, with data loading. Scaling: frames/s per process, relative to the first
row of the same precision and batch. Waiting for data: of the process that waits most."""


def measure_processes(cfg: Config, options: MeasureOptions, process: Process) -> Report:
    """Time the loop of train.py on the processes of this run.

    Args:
        cfg: The config.
        options: What to measure; everything but the loop is left out.
        process: This process of the run.

    Returns:
        Plain values for a JSON file, the same on all processes.
    """
    on_gpu = process.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(process.device) if on_gpu else "CPU",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "config": str(cfg.filename),
        "training_files": time_loops(cfg, options, process),
    }


def launch(script: Path, arguments: Sequence[str], numbers: Sequence[int]) -> Report:
    """Run a benchmark script once for each number of processes on this machine.

    Args:
        script: The script, which writes the report of ``measure_processes`` to ``--json``.
        arguments: Its other arguments.
        numbers: Numbers of processes.

    Returns:
        The report of the first number, with the rows of all.

    Raises:
        ValueError: If a run fails.
    """
    threads = max(1, (os.cpu_count() or 1) // max(numbers))
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            out = Path(folder) / f"{number}.json"
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]
            command = [sys.executable, *launcher, str(script), *arguments, "--json", str(out)]
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
            if done.returncode:
                raise ValueError(f"the run on {number} processes failed; its error is above")
            reports.append(json.loads(out.read_text()))
    return reports[0] | {"training_files": [row for r in reports for row in r["training_files"]]}


def scaling_table(report: Mapping[str, Any]) -> str:
    """Format a row per number of processes, and how the speed grows with it."""
    facts = [report["device"], f"torch {report['torch']}", report["date"], report["config"]]
    table = [
        ["processes", "training", "ms", "step alone, ms", "frames/s", "scaling",
         "waiting for data", "peak GB"],
    ]  # fmt: skip
    first: dict[tuple[str, int], float] = {}
    for row in report["training_files"]:
        kind = (row["precision"], row["batch_size"])
        each = row["frames_per_s"] / row["processes"]
        scaling = each / first.setdefault(kind, each)
        cells = [str(row["processes"]), f"{kind[0]}, batch {kind[1]}"]
        cells += [time_text(row["loop"]), time_text(row["step"]), figures(row["frames_per_s"])]
        cells += [f"{scaling:.2f}", f"{row['waiting_share']:.1%}"]
        table.append([*cells, gigabytes(row["peak_bytes"])])
    return "\n\n".join(["; ".join(facts), markdown(table), NOTE])
