"""Score a network clean and under each corruption, resuming what an earlier run has done."""

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner.amp import autocast

from dataset.corruptions.frames import CorruptedFrames
from dataset.corruptions.table import CORRUPTIONS, SEED, Corruption
from dataset.options import spread
from engine.agreement import check_agreement, describe_names
from engine.build.build import (
    amp_dtype,
    build_model,
    eval_loader,
    input_fields,
    place,
    sensors_of,
)
from engine.checkpoint.weights import TrainedWeights, fill
from engine.evaluation.evaluator import Evaluation
from engine.evaluation.occupancy import build_evaluation
from engine.robustness.options import SKIP
from engine.robustness.results import CLEAN, Results, Run, read_baseline, resume
from utils.config import Schedule, plain, read_section
from utils.distributed import Process
from utils.progress import with_progress

RESULTS = "results.json"

logger = logging.getLogger(__name__)


@dataclass
class Benchmark:
    """A network, its frames, and the results so far.

    Attributes:
        cfg: Config of the frames.
        evaluation: The network and its evaluation on uncorrupted frames.
        indices: Indices of the scored frames.
        args: The command line.
        process: This process of the run.
        results: What has been scored.
        baseline: Results of a baseline; None if there is none.
    """

    cfg: Config
    evaluation: Evaluation
    indices: list[int]
    args: argparse.Namespace
    process: Process
    results: Results
    baseline: Results | None

    def run(self) -> None:
        """Score every pass that the results lack, and write the results after each.

        Raises:
            ValueError: If other processes of the run have other results.
        """
        path = self.args.out / RESULTS
        done = describe_names("passes", sorted(map(str, self.results.scores)))
        check_agreement({"results": f"{path} with {done}"})
        names = [corruption.name for corruption in chosen_corruptions(self.args, self.cfg_sensors)]
        runs = [Run(CLEAN, 0)]
        runs += [Run(name, severity) for name in names for severity in self.args.severities]
        left = [run for run in runs if run not in self.results.scores]
        if len(left) < len(runs):
            logger.info("%d of %d passes are already done", len(runs) - len(left), len(runs))
        for run in left:
            scores = self._score(run)
            if self.process.rank == 0:
                self.results.scores[run] = scores
                self.results.write(path, self.baseline)
                logger.info("%s: %.2f mIoU", run, 100 * (scores["miou"] or 0.0))
        if self.process.rank == 0:
            self.results.write(path, self.baseline)

    @property
    def cfg_sensors(self) -> str:
        """The sensors that the network predicts from."""
        return str(self.results.network["sensors"])

    @torch.no_grad()
    def _score(self, run: Run) -> dict[str, Any]:
        """Score one pass over the frames, on all processes."""
        frames = CorruptedFrames(
            self.evaluation.frames,
            self.indices,
            self.evaluation.metric.labels,
            CORRUPTIONS.get(run.corruption),
            run.severity,
            skips_lost=self.args.missing_sensor == SKIP and self.cfg_sensors == "both",
        )
        schedule = read_section(self.cfg, "schedule", Schedule)
        batch_size = self.args.batch_size or schedule.batch_size
        loader = eval_loader(self.cfg, frames, self.process, batch_size)
        dtype = amp_dtype(self.args.amp, self.process.device)
        network = self.evaluation.network.eval()
        shown = self.process.rank == 0
        for batch in with_progress(loader, str(run), len(loader), shown=shown):
            with autocast(dtype=dtype, enabled=dtype is not None):
                predictions = network.val_step(batch)
            self.evaluation.metric.process(batch, predictions)
        self.evaluation.metric.evaluate(len(frames))
        return self.evaluation.to_json()


def open_benchmark(
    cfg: Config, weights: TrainedWeights, args: argparse.Namespace, process: Process
) -> Benchmark:
    """Build the network and its frames, and read the results so far.

    Args:
        cfg: The config of the network.
        weights: Its weights.
        args: The options of ``add_robustness_options``.
        process: This process of the run.

    Raises:
        FileNotFoundError: If data, weights or the baseline are missing.
        ValueError: If an option is invalid, or the results are of another network.
    """
    if args.save_sem is not None:
        raise ValueError("--save-sem: the benchmark writes no predictions; use eval_iou.py")
    sensors = sensors_of(cfg)
    corruptions = chosen_corruptions(args, sensors)
    network = build_model(cfg)
    fill(network, weights.tensors, weights.path)
    if args.missing_sensor == SKIP and sensors == "both" and network.sensor_dropout is None:
        logger.warning(
            "--missing-sensor skip: the network was trained without model.sensor_dropout, so a "
            "missing sensor is new to it"
        )
    data_cfg = data_config(cfg, corruptions)
    evaluation = build_evaluation(data_cfg, network, args)
    indices = spread(range(len(evaluation.frames)), args.limit)
    place(evaluation.network, process.device)
    used = {
        "weights_sha256": _short(weights.path.read_bytes()),
        "config_sha256": _digest(plain({key: cfg.get(key) for key in ("model", "grid", "dataset",
            "labels", "modality")})),
        "sensors": sensors,
        "missing_sensor": args.missing_sensor,
        "precision": args.amp,
        "occupied_threshold": args.thresh,
    }  # fmt: skip
    protocol = {
        "split": args.split,
        "frames_sha256": _digest([evaluation.frames.stems[index] for index in indices]),
        "grid": evaluation.grid,
        "convention": evaluation.metric.convention.name,
        "definitions_sha256": _digest([SEED, [(c.name, c.levels) for c in CORRUPTIONS.values()]]),
        **evaluation.facts,
    }
    results = resume(args.out / RESULTS, used, protocol)
    baseline = None if args.baseline is None else read_baseline(args.baseline, protocol)
    return Benchmark(data_cfg, evaluation, indices, args, process, results, baseline)


def chosen_corruptions(args: argparse.Namespace, sensors: str) -> list[Corruption]:
    """Return the chosen corruptions, or all that change what the network reads.

    Raises:
        ValueError: If a chosen one changes nothing that it reads.
    """
    reads = set(input_fields(sensors))
    changing = [c for c in CORRUPTIONS.values() if c.changes & reads]
    if args.corruptions is None:
        return changing
    without = [name for name in args.corruptions if CORRUPTIONS[name] not in changing]
    if without:
        raise ValueError(
            f"--corruptions {' '.join(without)}: no effect on a network that predicts from "
            f"sensors '{sensors}'. Choose from {' '.join(c.name for c in changing)}"
        )
    return [corruption for corruption in changing if corruption.name in args.corruptions]


def data_config(cfg: Config, corruptions: Sequence[Corruption]) -> Config:
    """Return the config of the frames: with both sensors if a corruption needs the other one."""
    needed = set().union(*(corruption.needs for corruption in corruptions)) - {"occupancy"}
    if needed <= set(input_fields(sensors_of(cfg))):
        return cfg
    both = deepcopy(cfg)
    both.modality, both.sensors = "both", None
    return both


def _digest(content: Any) -> str:
    return _short(json.dumps(content, sort_keys=True, default=str).encode())


def _short(content: bytes) -> str:
    """Return 16 hexadecimal digits: enough to tell files apart, few enough for a message."""
    return hashlib.sha256(content).hexdigest()[:16]
