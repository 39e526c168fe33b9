"""Score depth estimation.

    python eval_depth.py --work-dir DIR [--py-config CONFIG]

Compares the depth of every labeled pixel with its label, at the network's image size. The depth is
the expected value of the depth distributions that lift the camera features, or it is rendered from
the camera volume. Uses every visible GPU, or the processes that torchrun starts.
"""

import argparse
import sys
from collections.abc import Sequence

from engine.build.build import load_network
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_split_option,
    add_weight_options,
    read_config,
    weights_to_score,
)
from engine.evaluation.camera_depth import SOURCES, read_frames, score_depth
from engine.evaluation.depth_options import add_depth_rule_options, depth_rule
from engine.metrics.depth import DepthMeter
from utils.config import Runtime, read_section
from utils.console import run_script, start_logging
from utils.distributed import pick_device, process_group, use_all_gpus
from utils.outputs import output_file
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
    add("--source", choices=sorted(SOURCES), default="lift", help="depth to score: "
        "lift, expected depth of the lift's distributions; rendered, from the camera volume "
        "(default: lift)")  # fmt: skip
    add_depth_rule_options(parser)
    add("--json", type=output_file, metavar="FILE", help="write the errors to FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    with process_group() as process:
        start_logging(process.rank)
        meter = DepthMeter(depth_rule(args))
        weights = weights_to_score(args)
        cfg = read_config(args, weights=weights)
        network = load_network(cfg, weights, pick_device(args.device))
        frames = read_frames(cfg, args.split)
        workers = read_section(cfg, "runtime", Runtime).num_workers
        score_depth(network, frames, meter, args.source, process, num_workers=workers)
        if process.rank == 0:
            scores = meter.scores()
            size = "×".join(map(str, cfg.dataset.image_size))
            title = f"{SOURCES[args.source]}, {args.split} of {cfg.data_root}, images of {size}"
            if args.json is not None:
                found = {"source": args.source, "split": args.split}
                write_json(found | scores.to_json(), args.json)
            sys.stdout.write(f"{title}\n{scores.table()}\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.device != "cpu":
        use_all_gpus()
    run_script(lambda: main(arguments), parallel=True)
