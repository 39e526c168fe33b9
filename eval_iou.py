"""Score a network: ``python eval_iou.py --py-config CONFIG --work-dir DIR [--resume-from FILE]``.

Prints IoU, precision and recall of occupied-or-not, the IoU of each class and their means; on
nuScenes those of a benchmark's grid. Uses every visible GPU, or the processes that ``torchrun``
starts; each frame counts once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.model import BaseModel

from dataset.layout import LABEL_GRID
from engine.build.build import build_dataset, build_grid, build_model
from engine.command_line import add_config_options, add_split_option, read_config, weights_of
from engine.evaluation.evaluation import Evaluation
from engine.evaluation.evaluator import build_evaluator
from engine.evaluation.nuscenes import benchmark_evaluation
from engine.evaluation.nuscenes_options import (
    add_nuscenes_options,
    benchmark_options,
    refuse_nuscenes_options,
)
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.metrics.occupancy import CONVENTIONS, describe_grid
from utils.checkpoint import BEST, load_weights
from utils.config import PRECISIONS, Schedule, check_dataset_name, read_section
from utils.console import run_script, start_logging
from utils.distributed import process_group, use_all_gpus
from utils.outputs import output_file, output_folder
from utils.whole_files import write_json


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config_options(parser)
    add = parser.add_argument
    add("--work-dir", required=True, type=output_folder, metavar="DIR",
        help="folder of the training; logs go there")  # fmt: skip
    add("--resume-from", type=Path, metavar="FILE",
        help=f"weights; default: {BEST} of the work directory")  # fmt: skip
    add_split_option(parser)
    add("--dataset", help="name of the data set, checked against the config: unscenes3d, nuscenes")
    add("--batch-size", type=int, help="frames at a time; default: the config's")
    add("--amp", choices=PRECISIONS, default="off", help="precision to predict in")
    add("--convention", choices=sorted(CONVENTIONS), help="how means are taken; default: "
        "'default', or the benchmark's own")  # fmt: skip
    add(
        "--save-pred",
        type=output_folder,
        metavar="DIR",
        help="write each prediction to DIR/STEM.npy",
    )
    add("--json", type=output_file, metavar="FILE", help="write the scores")
    add("--sem", action="store_true", help="per-class IoU besides IoU; always given here")
    add_nuscenes_options(parser)
    return parser.parse_args(argv)


def prepare(cfg: Config, network: BaseModel, args: argparse.Namespace) -> Evaluation:
    """What to run: the config's own grid, or a benchmark's on nuScenes."""
    if cfg.dataset.type == "NuScenes":
        return benchmark_evaluation(
            cfg,
            network,
            benchmark_options(args),
            split=args.split,
            convention=args.convention,
            save_pred=args.save_pred,
        )
    refuse_nuscenes_options(args, cfg.dataset.type)
    metric = OccupancyMetric(cfg.labels, args.convention or "default", args.save_pred)
    grid = describe_grid(build_grid(cfg), LABEL_GRID)
    return Evaluation(build_dataset(cfg, args.split), network, metric, grid, {})


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    with process_group() as process:
        start_logging(process.rank)
        cfg = read_config(args)
        check_dataset_name(cfg, args.dataset)
        network = build_model(cfg)
        job = prepare(cfg, network, args)
        load_weights(network, weights_of(args))
        batch_size = args.batch_size or read_section(cfg, "schedule", Schedule).batch_size
        evaluator = build_evaluator(
            cfg, job.network, job.metric, args.work_dir, process,
            frames=job.frames, batch_size=batch_size, precision=args.amp,
        )  # fmt: skip
        evaluator.val()
        if process.rank == 0:
            if args.json is not None:
                write_json(job.to_json(), args.json)
            sys.stdout.write(job.table() + "\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments))
