"""mmengine's Runner, shared by training and evaluation, and its options from a config."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.logging.logger import FilterDuplicateWarning
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from dataset.sample import Batch
from model.training_step import training_step
from utils.config import Runtime
from utils.console import ConsoleHandler, log_to
from utils.distributed import Process
from utils.whole_files import name_full_disk, write_whole


class Trainer(Runner):
    """The Runner; ``CheckpointHook`` handles checkpoints, and the caller handles the console.

    Args:
        is_resumed: Whether a checkpoint provides all weights, so pretrained ones are not loaded.
        options: Arguments of mmengine's ``Runner``.
    """

    def __init__(self, *, is_resumed: bool = False, **options: Any) -> None:
        self._is_resumed = is_resumed
        with name_full_disk(options["work_dir"]):
            super().__init__(**options)

    def train(self) -> nn.Module:
        """Train; an error of a full disk names the work directory."""
        with name_full_disk(self.work_dir):
            return super().train()

    def val(self) -> dict[str, float]:
        """Score; an error of a full disk names the work directory."""
        with name_full_disk(self.work_dir):
            return super().val()

    def _init_model_weights(self) -> None:
        if not self._is_resumed:
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Let the hooks restore their state; called after everything is built."""
        self.call_hook("resume_training")

    def dump_config(self) -> None:
        """Write the config to the work directory in training; evaluation does not overwrite it."""
        if self._train_loop is not None and self.rank == 0:
            name = Path(self.cfg.filename or f"{self.timestamp}.py").name
            write_whole(Path(self.work_dir) / name, self.cfg.pretty_text)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build mmengine's logger, and send this project's log lines to its log file.

        The console shows only warnings and errors of mmengine's own lines.
        """
        logger = super().build_logger(*args, **kwargs)
        files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        for handler in files:
            log_to(handler)
        console = ConsoleHandler(logging.WARNING if self.rank == 0 else logging.ERROR, self.rank)
        console.addFilter(FilterDuplicateWarning(logger.name))
        logger.handlers = [console, *files]
        return logger


def runner_options(
    cfg: Config, runtime: Runtime, work_dir: Path, process: Process, backends: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the arguments of ``Trainer`` that training and evaluation share.

    Args:
        cfg: The config.
        runtime: Its ``runtime`` section.
        work_dir: Folder of the logs.
        process: This process of the run.
        backends: Names of visualization backends in addition to mmengine's local files.
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


class DistributedNetwork(MMDistributedDataParallel):
    """A network in one of several processes; it trains like the network itself."""

    def train_step(self, data: Batch, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """Train on a batch, for mmengine's loop; see ``model.training_step``."""
        return training_step(self, self.module.data_preprocessor, data, optim_wrapper)


def wrap_network(network: BaseModel, process: Process, find_unused: bool) -> nn.Module:
    """Wrap a network for distributed training; return it unchanged for a single process.

    Gradients live in the buffers that are reduced, which saves a copy of each. Running statistics
    stay apart until the end of an epoch: training does not read them.
    """
    if process.world_size == 1:
        return network
    on_gpu = process.device.type == "cuda"
    if on_gpu:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return DistributedNetwork(
        network,
        device_ids=[process.device.index] if on_gpu else None,
        find_unused_parameters=find_unused,
        gradient_as_bucket_view=True,
        broadcast_buffers=False,
    )
