"""An evaluation of a network, and the runner that executes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from torch.utils.data import DataLoader

from dataset.arrays import InputOptions
from dataset.frame_dataset import FrameDataset
from engine.build.build import amp_dtype, build_grid, eval_loader, place
from engine.evaluation.loop import EvalLoop
from engine.evaluation.lost_sensor_hook import LostSensorHook
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.evaluation.registration_hook import RegistrationHook
from engine.metrics.occupancy import OccupancyScores
from engine.progress_hook import ProgressHook
from engine.runner import Trainer, runner_options, wrap_network
from utils.config import Runtime, read_section
from utils.distributed import Process


class Evaluation(NamedTuple):
    """What to evaluate, and how.

    Attributes:
        frames: The data set.
        network: Predicts on the label grid of ``frames``.
        metric: Compares predictions and labels.
        grid: Description of the grid.
        facts: Further entries of the JSON output.
        allow_missing: Whether frames may lack a sensor.
    """

    frames: FrameDataset
    network: BaseModel
    metric: OccupancyMetric
    grid: str
    facts: dict[str, Any]
    allow_missing: bool = False

    def table(self) -> str:
        """Format the scores for a terminal; call after the evaluation has run."""
        tables = []
        for found in self.metric.all_scores:
            is_masked = self.facts.get("use_mask") and isinstance(found, OccupancyScores)
            mask = ", only those seen by a camera" if is_masked else ""
            tables.append(found.table(self.grid + mask))
        return "\n\n".join(tables)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as fractions by key, with ``facts``."""
        scores: dict[str, Any] = {}
        for found in self.metric.all_scores:
            scores |= found.to_json()
        return scores | self.facts


def build_evaluator(
    cfg: Config,
    evaluation: Evaluation,
    work_dir: Path,
    process: Process,
    *,
    batch_size: int,
    precision: str = "off",
) -> Trainer:
    """Build the runner of an evaluation; call ``val()`` to start.

    Raises:
        ValueError: If the config is invalid.
    """
    runtime = read_section(cfg, "runtime", Runtime)
    mode = "default" if runtime.compile else None
    network = place(evaluation.network, process.device, compile_mode=mode)
    if runtime.compile and process.device.type == "cuda":
        network.capture()
    loader = eval_loader(cfg, evaluation.frames, process, batch_size)
    dtype = amp_dtype(precision, process.device)
    crop = InputOptions.from_section(cfg.dataset).image_crop
    return Trainer(
        model=wrap_network(network, process, False),
        custom_hooks=[
            ProgressHook(),
            RegistrationHook(build_grid(cfg), crop),
            LostSensorHook(allow_missing=evaluation.allow_missing),
        ],
        **evaluation_section(loader, [evaluation.metric], dtype),
        **runner_options(cfg, runtime, work_dir, process),
    )


def evaluation_section(
    loader: DataLoader, metrics: Sequence[BaseMetric], precision: torch.dtype | None
) -> dict[str, Any]:
    """Return arguments that make ``Trainer`` score the frames of a loader."""
    return {
        "val_dataloader": loader,
        "val_evaluator": Evaluator(metrics),
        "val_cfg": {"type": EvalLoop, "amp_dtype": precision},
    }
