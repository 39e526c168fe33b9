"""Run experiments one after another, or several at once, each on a GPU of its own.

A run is a chain of commands in processes of their own. The work directory notes which of them are
done, so that a run resumes after an interruption; training itself resumes from its checkpoint.
"""

import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import torch

from engine.experiments.plan import SPLITS, Run, Step
from engine.experiments.record import Facts, is_recorded, make_record
from utils.folder_lock import locked
from utils.whole_files import write_json

NOTE = "experiment.json"
"""File of a work directory: the identity of its run, and the finished steps."""
LOG = "experiment.log"
"""File of a work directory: what the commands print."""
_SHOWN_LINES = 3

logger = logging.getLogger(__name__)


class Queue:
    """Executes runs.

    Args:
        facts: What the records say of the session.
        gpus: Names of the GPUs, as in CUDA_VISIBLE_DEVICES; none for the CPU.
        jobs: Number of runs at a time; the GPUs are shared evenly.
    """

    def __init__(self, facts: Facts, gpus: Sequence[str], jobs: int) -> None:
        self._facts = facts
        self._jobs = jobs
        self._places: SimpleQueue[str | None] = SimpleQueue()
        for index in range(jobs):
            self._places.put(gpus[index % len(gpus)] if gpus else None)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def execute(self, runs: Sequence[Run]) -> dict[str, str]:
        """Execute all runs that have no record yet; one that fails does not stop the others.

        Returns:
            What went wrong, by name of the run.

        Raises:
            ValueError: If a record is of other settings.
        """
        data = str(self._facts.data["hash"])
        left = [run for run in runs if not is_recorded(run, data)]
        if len(left) < len(runs):
            logger.info("%d of %d runs are already recorded", len(runs) - len(left), len(runs))
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self._jobs) as pool:
            futures = {run.name: pool.submit(self._execute, run) for run in left}
            try:
                for name, future in futures.items():
                    try:
                        future.result()
                    except (ValueError, OSError) as error:
                        failures[name] = str(error)
                        logger.error("%s failed: %s", name, error)
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failures

    def _execute(self, run: Run) -> None:
        place = self._places.get()
        try:
            with locked(run.work_dir / ".experiment"):
                self._execute_steps(run, place)
        finally:
            self._places.put(place)

    def _execute_steps(self, run: Run, gpu: str | None) -> None:
        identity = run.identity(str(self._facts.data["hash"]))
        note = run.work_dir / NOTE
        done = _finished_steps(note, identity)
        write_json({"identity": identity, "done": done}, note)
        for step in run.steps():
            if step.words[1:] == tuple(done.get(step.name, ())) and step.output.is_file():
                continue
            start = time.monotonic()
            logger.info("%s: %s", run.name, step.name)
            self._call(step, run.work_dir / LOG, gpu)
            logger.info("%s: %s took %.0f s", run.name, step.name, time.monotonic() - start)
            done[step.name] = list(step.words[1:])
            write_json({"identity": identity, "done": done}, note)
            if done.keys() >= set(SPLITS):  # A failure of a later step leaves the scores.
                write_json(make_record(run, self._facts, done), run.record)
        record = make_record(run, self._facts, done)
        write_json(record, run.record)
        scores = record["scores"]["test"]
        logger.info("%s: %.2f mIoU on test; %s", run.name, 100 * (scores["miou"] or 0), run.record)

    def _call(self, step: Step, log: Path, gpu: str | None) -> None:
        """Run a command; its output goes to the log.

        Raises:
            ValueError: If it fails; quotes the end of its output.
        """
        environment = dict(os.environ) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        with log.open("ab") as file:
            begin = file.tell()
            with self._lock:
                if self._is_stopped:
                    raise ValueError("stopped")
                process = subprocess.Popen(
                    step.words, stdout=file, stderr=subprocess.STDOUT, env=environment
                )
                self._processes.add(process)
            status = process.wait()
        with self._lock:
            self._processes.remove(process)
        if status == 0 and step.output.is_file():
            return
        text = log.read_bytes()[begin:].decode(errors="replace").replace("\r", "\n")
        lines = [line for line in text.splitlines() if line.strip()][-_SHOWN_LINES:]
        last = " | ".join(lines) or "nothing"
        raise ValueError(f"{step.name} ended with status {status}; {log} ends with: {last}")

    def _stop(self) -> None:
        """End the running commands, and start no more."""
        with self._lock:
            self._is_stopped = True
            for process in self._processes:
                process.terminate()


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(index) for index in range(count)]
    return named.split(",")[:count]


def _finished_steps(note: Path, identity: str) -> dict[str, list[str]]:
    """Return the finished commands of a work directory, by step.

    Raises:
        ValueError: If the folder is of another run.
    """
    if not note.is_file():
        return {}
    content = json.loads(note.read_text(encoding="utf-8"))
    if content["identity"] != identity:
        raise ValueError(
            f"{note.parent} is of another config, precision or data: remove it, or choose another "
            "--work-root"
        )
    return dict(content["done"])
