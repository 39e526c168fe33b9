"""The record of a run: a JSON file with its config, data, machine, cost and scores."""

import json
import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from engine import __version__
from engine.experiments.plan import LATENCY, ROBUSTNESS, SPLITS, Run, shown_command
from utils.config import plain

FORMAT = 1
_WHOLE = "whole"
"""The row of the whole network in a report of tools/benchmark.py."""
_ROOT = Path(__file__).resolve().parents[2]

Record = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What all runs of a session share: for the record, not for the results.

    Attributes:
        data: Name and version of the data, its hash, and how it compares with the expected one.
        commit: Commit of the code, with "+" if files differ from it; "unknown" if it is.
        device: The GPU, or "CPU".
    """

    data: Mapping[str, Any]
    commit: str
    device: str


def commit_of_code() -> str:
    """Return the commit that is checked out, with "+" if tracked files differ from it.

    Returns:
        "unknown" if the code is in no repository.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return "unknown"
    return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def make_record(run: Run, facts: Facts, done: Collection[str]) -> Record:
    """Gather the record of a run from the files of its steps.

    Args:
        run: The run; its training and scoring are done.
        facts: What all records of the session share.
        done: Names of the finished steps.

    Raises:
        FileNotFoundError: If a step has not written its file.
    """
    cfg = run.load_config()
    steps = {step.name: step for step in run.steps() if step.name in done}
    record: Record = {
        "format": FORMAT,
        "variant": run.config.stem,
        "seed": run.seed,
        "identity": run.identity(str(facts.data["hash"])),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": facts.commit,
        "commands": [shown_command(step.words) for step in steps.values()],
        "machine": {
            "gpu": facts.device,
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "unsocc": __version__,
        },
        "data": dict(facts.data),
        "amp": run.settings.amp,
        "training": training_cost(run.work_dir, cfg.schedule.batch_size),
        "scores": {split: _read(steps[split].output) for split in SPLITS},
    }
    if run.record.is_file():  # What an earlier session measured on demand.
        before = _read(run.record)
        record |= {name: before[name] for name in (ROBUSTNESS, LATENCY) if name in before}
    if ROBUSTNESS in steps:
        found = _read(steps[ROBUSTNESS].output)
        frames = run.settings.robustness_frames
        record[ROBUSTNESS] = {"frames": frames} | found["summary"]
    if LATENCY in steps:
        record[LATENCY] = _latency(_read(steps[LATENCY].output))
    return record | {"config": plain(cfg.to_dict())}


def training_cost(work_dir: Path, batch_size: int) -> Record:
    """Sum up the time of a training, and its peak memory, from its logs.

    Iterations that were trained again after an interruption count once.

    Args:
        work_dir: The work directory.
        batch_size: Frames per iteration.

    Returns:
        ``seconds`` of the training loop, ``iterations``, ``frames_per_s``, and ``peak_gib`` of the
        GPU, None on a CPU.

    Raises:
        FileNotFoundError: If there are no logs.
    """
    lines: dict[int, Record] = {}
    logs = sorted(work_dir.glob("*/vis_data/scalars.json"))
    if not logs:
        raise FileNotFoundError(f"{work_dir} has no logs of a training; train again")
    for log in logs:
        for text in log.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if "loss" in line:
                lines[line["step"]] = line
    seconds, before = 0.0, 0
    for step, line in sorted(lines.items()):
        seconds += line["time"] * (step - before)  # A mean over the iterations since the last.
        before = step
    peaks = [line["memory"] for line in lines.values() if "memory" in line]
    return {
        "seconds": round(seconds, 1),
        "iterations": before,
        "frames_per_s": round(batch_size * before / max(seconds, 1e-9), 2),
        "peak_gib": round(max(peaks) / 1024, 2) if peaks else None,  # Logged in MiB.
    }


def read_records(folder: Path) -> list[Record]:
    """Read all records of a folder, by variant and seed.

    Raises:
        ValueError: If a file is no record, or of a newer version.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        record = _read(path)
        if record.get("format") != FORMAT or not {"variant", "seed", "scores"} <= record.keys():
            raise ValueError(
                f"{path}: expected a record of tools/bench.py in format {FORMAT}, found format "
                f"{record.get('format')!r}; remove the file, or run again"
            )
        records.append(record)
    return sorted(records, key=lambda record: (record["variant"], record["seed"]))


def is_recorded(run: Run, data_hash: str) -> bool:
    """Return whether the record of a run exists, with all parts that it should have.

    Raises:
        ValueError: If the record is of other settings or other data.
    """
    if not run.record.is_file():
        return False
    record = _read(run.record)
    if record.get("identity") != run.identity(data_hash):
        raise ValueError(
            f"{run.record} is of another config, precision or data: remove it, or choose another "
            "--results"
        )
    wanted = [step.name for step in run.steps() if step.name in (ROBUSTNESS, LATENCY)]
    return all(name in record for name in (*wanted, "scores"))


def _latency(report: Record) -> Record:
    """Return time and memory of one frame from a report of tools/benchmark.py."""
    [(precision, found)] = report["inference"].items()
    return {
        "precision": precision,
        "median_ms": found["stages"][_WHOLE]["median_ms"],
        "peak_gib": None if found["peak_bytes"] is None else found["peak_bytes"] / 2**30,
        "parameters": report["parameters"][_WHOLE],
        "inputs": report["inputs"],
    }


def _read(path: Path) -> Record:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; run tools/bench.py again")
    content: Record = json.loads(path.read_text(encoding="utf-8"))
    return content


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=_ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
