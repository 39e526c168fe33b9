"""Mmengine's Runner as training and scoring share it, and its options from a config."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.logging.logger import FilterDuplicateWarning
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from utils.config import Runtime
from utils.console import ConsoleHandler, log_to
from utils.distributed import Process


class Trainer(Runner):
    """The Runner; its checkpoints are those of ``CheckpointHook``, its console is the caller's.

    Args:
        is_resumed: Whether a checkpoint brings all weights, so that no pretrained ones are read.
        options: Arguments of mmengine's ``Runner``.
    """

    def __init__(self, *, is_resumed: bool = False, **options: Any) -> None:
        self._is_resumed = is_resumed
        super().__init__(**options)

    def _init_model_weights(self) -> None:
        if not self._is_resumed:
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Let the hooks restore what they keep; called after everything is built."""
        self.call_hook("resume_training")

    def dump_config(self) -> None:
        """Keep the config of a training in its folder; scoring does not overwrite it."""
        if self._train_loop is not None:
            super().dump_config()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Mmengine's log file, which this project's log lines go to as well.

        Of mmengine's own lines, the console shows warnings and errors only.
        """
        logger = super().build_logger(*args, **kwargs)
        files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        for handler in files:
            log_to(handler)
        console = ConsoleHandler(logging.WARNING if self.rank == 0 else logging.ERROR)
        console.addFilter(FilterDuplicateWarning(logger.name))
        logger.handlers = [console, *files]
        return logger


def runner_options(
    cfg: Config, runtime: Runtime, work_dir: Path, process: Process, backends: Sequence[str] = ()
) -> dict[str, Any]:
    """Arguments of ``Trainer`` that training and scoring share.

    Args:
        cfg: The config.
        runtime: Its section of that name.
        work_dir: Folder of the logs.
        process: This process among those of the run.
        backends: Names of visualization backends beside mmengine's local files.
    """
    names = ["LocalVisBackend", *backends]
    return {
        "work_dir": str(work_dir),
        "cfg": cfg,
        "experiment_name": str(work_dir),
        "launcher": "pytorch" if process.world_size > 1 else "none",
        "env_cfg": {"cudnn_benchmark": runtime.cudnn_benchmark},
        "visualizer": {"type": "Visualizer", "vis_backends": [{"type": name} for name in names]},
        "log_processor": {"window_size": runtime.log_interval},
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": runtime.log_interval},
            "sampler_seed": None,
            "param_scheduler": None,
            "checkpoint": None,
        },
    }


def wrap_network(network: BaseModel, process: Process, find_unused: bool) -> nn.Module:
    """The network as several processes train it together; alone, the network itself."""
    if process.world_size == 1:
        return network
    on_gpu = process.device.type == "cuda"
    if on_gpu:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return MMDistributedDataParallel(
        network,
        device_ids=[process.device.index] if on_gpu else None,
        find_unused_parameters=find_unused,
    )
