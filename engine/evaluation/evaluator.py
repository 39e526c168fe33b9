"""From a network and a data set to a runner that scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from torch.utils.data import DataLoader

from dataset.frame_dataset import FrameDataset
from engine.build.build import amp_dtype, eval_loader, place
from engine.evaluation.loop import EvalLoop
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.progress_hook import ProgressHook
from engine.runner import Trainer, runner_options, wrap_network
from utils.config import Runtime, read_section
from utils.distributed import Process


def build_evaluator(
    cfg: Config,
    network: BaseModel,
    metric: OccupancyMetric,
    work_dir: Path,
    process: Process,
    *,
    frames: FrameDataset,
    batch_size: int,
    precision: str = "off",
) -> Trainer:
    """What scores a network on the frames of a data set, ready to ``val()``.

    Raises:
        ValueError: If the config is at fault.
    """
    runtime = read_section(cfg, "runtime", Runtime)
    loader = eval_loader(cfg, frames, process, batch_size)
    mode = "reduce-overhead" if runtime.compile else None
    return Trainer(
        model=wrap_network(place(network, process.device, compile_mode=mode), process, False),
        custom_hooks=[ProgressHook()],
        **evaluation_section(loader, [metric], amp_dtype(precision, process.device)),
        **runner_options(cfg, runtime, work_dir, process),
    )


def evaluation_section(
    loader: DataLoader, metrics: Sequence[BaseMetric], precision: torch.dtype | None
) -> dict[str, Any]:
    """Arguments of ``Trainer`` by which it scores the frames of a loader."""
    return {
        "val_dataloader": loader,
        "val_evaluator": Evaluator(metrics),
        "val_cfg": {"type": EvalLoop, "amp_dtype": precision},
    }
