"""Choose the evaluation of a config: on its own grid, or on the grid of a benchmark.

Data sets with their own benchmarks have an entry in ``EVALUATIONS``.
"""

import argparse
import logging
from collections.abc import Callable

from mmengine.config import Config

from dataset.frame_dataset import FrameDataset
from dataset.layout import LABEL_GRID
from dataset.nuscenes.dataset import NuScenes
from dataset.rellis3d.dataset import Rellis3D
from engine.build.build import build_dataset, build_grid, check_allow_missing, input_folders
from engine.build.dataset_class import dataset_class
from engine.command_line import add_missing_option, reject_input_folder
from engine.evaluation.evaluator import Evaluation
from engine.evaluation.grid_metric import GridMetric
from engine.evaluation.nuscenes import nuscenes_evaluation
from engine.evaluation.nuscenes_options import (
    WILDOCC,
    add_nuscenes_options,
    reject_nuscenes_options,
)
from engine.evaluation.wildocc import wildocc_evaluation
from engine.metrics.occupancy import CONVENTIONS, describe_grid
from engine.number_options import positive
from model.objective import LABELS
from model.unsocc import UnsOcc
from utils.outputs import output_folder

logger = logging.getLogger(__name__)


def add_occupancy_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``build_evaluation``, except the split."""
    add_missing_option(parser)
    add = parser.add_argument
    add("--convention", choices=sorted(CONVENTIONS), help="convention for means; default: "
        "'default', or that of the benchmark")  # fmt: skip
    add("--save-pred", type=output_folder, metavar="DIR",
        help="write each prediction to DIR/STEM.npy")  # fmt: skip
    add("--distances", type=positive, nargs="+", default=(), metavar="M", help="also score the "
        "voxels up to, between and beyond these ground distances from the LiDAR [m]; not on "
        "nuScenes")  # fmt: skip
    add_nuscenes_options(parser)


def build_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Build the evaluation for the data set of a config.

    Args:
        cfg: The config.
        network: The network of the config.
        args: The options of ``add_occupancy_options`` and ``split``.

    Raises:
        FileNotFoundError: If data files or labels are missing.
        ValueError: If the config, an option or the data is invalid.
    """
    if args.allow_missing:
        check_allow_missing(cfg, network)
    for out in (args.save_pred, args.save_sem):
        if out is not None:
            reject_input_folder(out, input_folders(cfg))
    if network.supervision != LABELS and not network.loss_options.label_free_options.has_classes:
        logger.warning(
            "the network was trained without labels: IoU, precision and recall count, scores of "
            "classes do not"
        )
    build = EVALUATIONS.get(dataset_class(cfg), config_grid_evaluation)
    return build(cfg, network, args)


def config_grid_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Build the evaluation on the grid of the config.

    Raises:
        FileNotFoundError: If data files or labels are missing.
        ValueError: If an option of a benchmark is given, or the data is invalid.
    """
    reject_nuscenes_options(args, cfg.dataset.type)
    grid = build_grid(cfg)
    metric = GridMetric(
        cfg.labels,
        grid,
        args.convention or "default",
        args.save_pred,
        distances_m=args.distances,
        ray_iou=args.ray_iou,
    )
    frames = build_dataset(cfg, args.split, allow_missing=args.allow_missing)
    described = describe_grid(grid, LABEL_GRID)
    return Evaluation(frames, network, metric, described, {}, args.allow_missing)


def rellis3d_evaluation(cfg: Config, network: UnsOcc, args: argparse.Namespace) -> Evaluation:
    """Build the evaluation on the grid of the config, or with ``--benchmark`` on that of WildOcc.

    Raises:
        FileNotFoundError: If data files or labels are missing.
        ValueError: If the config, an option or the data is invalid.
    """
    if args.benchmark is None:
        return config_grid_evaluation(cfg, network, args)
    if args.benchmark != WILDOCC:
        raise ValueError(
            f"--benchmark {args.benchmark} is for nuScenes: RELLIS-3D has --benchmark {WILDOCC}"
        )
    return wildocc_evaluation(cfg, network, args)


EVALUATIONS: dict[
    type[FrameDataset], Callable[[Config, UnsOcc, argparse.Namespace], Evaluation]
] = {NuScenes: nuscenes_evaluation, Rellis3D: rellis3d_evaluation}
"""Evaluations by data set class; all others use ``config_grid_evaluation``."""
