"""Score road elevation.

    python eval_elevation.py --work-dir DIR [--py-config CONFIG]
    python eval_elevation.py --py-config CONFIG --baseline mean

Prints the published relative errors, which compare 1.0 − z as stored in the label files, the mean
absolute error in centimeters, and the share of cells within 2, 5 and 10 cm. --baseline scores a
simple method for comparison. Uses every visible GPU, or the processes that torchrun starts.
"""

import argparse
import sys
from collections.abc import Sequence

from engine.build.build import build_model, input_folders, place
from engine.checkpoint.weights import fill
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_split_option,
    add_weight_options,
    read_config,
    reject_input_folder,
    weights_to_score,
)
from engine.evaluation.elevation_frames import (
    BASELINES,
    Mapper,
    baseline_mapper,
    network_mapper,
    read_frames,
    score_maps,
)
from engine.number_options import whole_number
from utils.config import Runtime, read_section
from utils.console import run_script, start_logging
from utils.distributed import pick_device, process_group, use_all_gpus
from utils.outputs import output_file, output_folder
from utils.whole_files import write_json


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser, required=False)
    add_weight_options(parser)
    add_split_option(parser)
    add_device_option(parser)
    add = parser.add_argument
    add("--baseline", choices=sorted(BASELINES), help="score a baseline instead of a network: "
        "lidar, interpolated LiDAR points; mean, mean map of the training set")  # fmt: skip
    add("--json", type=output_file, metavar="FILE", help="write the scores to FILE")
    add("--pictures", type=output_folder, metavar="DIR",
        help="write figures of label, prediction and error to DIR")  # fmt: skip
    add("--num-pictures", type=whole_number(0), default=0, metavar="N",
        help="write N figures, evenly spaced (default: 0, all)")  # fmt: skip
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    with process_group() as process:
        start_logging(process.rank)
        weights = weights_to_score(args) if args.baseline is None else None
        cfg = read_config(args, weights=weights)
        if args.pictures is not None:
            reject_input_folder(args.pictures, input_folders(cfg))
        mapper: Mapper
        if weights is not None:
            network = build_model(cfg)
            mapper = network_mapper(network)
            fill(network, weights.tensors, weights.path)
            place(network, pick_device(args.device))
        else:
            mapper = baseline_mapper(cfg, args.baseline)
        method = BASELINES.get(args.baseline, "network")
        scores = score_maps(
            read_frames(cfg, args.split, args.baseline),
            mapper,
            method,
            process,
            figures=args.pictures,
            limit=args.num_pictures,
            num_workers=read_section(cfg, "runtime", Runtime).num_workers,
        ).scores()
        if process.rank == 0:
            if args.json is not None:
                found = {"method": args.baseline or "network", "split": args.split}
                write_json(found | scores.to_json(), args.json)
            sys.stdout.write(f"{method}, {args.split} of {cfg.data_root}\n{scores.table()}\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.device != "cpu":
        use_all_gpus()
    run_script(lambda: main(arguments), parallel=True)
