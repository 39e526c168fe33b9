"""Score occupancy prediction.

    python eval_iou.py --work-dir DIR [--py-config CONFIG] [--resume-from FILE]

Prints IoU, precision and recall of occupied voxels, the IoU of each class and their means. nuScenes
is scored on the grid of a benchmark, and RELLIS-3D on request. Uses every visible GPU, or the
processes that torchrun starts; each frame counts once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.build.build import build_model
from engine.checkpoint.files import BEST
from engine.checkpoint.weights import fill
from engine.command_line import (
    add_config_options,
    add_sensors_option,
    add_split_option,
    read_config,
    sensors_values,
    weights_to_score,
)
from engine.evaluation.evaluator import build_evaluator
from engine.evaluation.occupancy import add_occupancy_options, build_evaluation
from engine.number_options import count
from utils.config import PRECISIONS, Schedule, check_dataset_name, read_section
from utils.console import run_script, start_logging
from utils.distributed import process_group, use_all_gpus
from utils.outputs import output_file, output_folder
from utils.whole_files import write_json


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser, required=False)
    add = parser.add_argument
    add("--work-dir", required=True, type=output_folder, metavar="DIR",
        help="work directory of the training; logs are written there")  # fmt: skip
    add("--resume-from", type=Path, metavar="FILE",
        help=f"checkpoint to load (default: {BEST} of the work directory)")  # fmt: skip
    add_split_option(parser)
    add_sensors_option(parser)
    add("--dataset", metavar="NAME", help="check that the config is for this data set: "
        "unscenes3d, nuscenes or rellis3d")  # fmt: skip
    add("--batch-size", type=count, metavar="N", help="frames per batch (default: from the config)")
    add("--amp", choices=PRECISIONS, default="off", help="mixed precision (default: off)")
    add("--json", type=output_file, metavar="FILE", help="write the scores to FILE")
    add("--sem", action="store_true", help="print per-class IoU (always printed)")
    add_occupancy_options(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    with process_group() as process:
        start_logging(process.rank)
        weights = weights_to_score(args)
        cfg = read_config(args, sensors_values(args), weights=weights)
        check_dataset_name(cfg, args.dataset)
        network = build_model(cfg)
        evaluation = build_evaluation(cfg, network, args)
        fill(network, weights.tensors, weights.path)
        batch_size = args.batch_size or read_section(cfg, "schedule", Schedule).batch_size
        evaluator = build_evaluator(
            cfg, evaluation, args.work_dir, process, batch_size=batch_size, precision=args.amp
        )
        evaluator.val()
        if process.rank == 0:
            if args.json is not None:
                write_json(evaluation.to_json(), args.json)
            sys.stdout.write(evaluation.table() + "\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments), parallel=True)
