"""Score novel-view depth.

    python eval_novel_depth.py --work-dir DIR [--py-config CONFIG]

The volume predicted at one frame is rendered to the camera poses of other frames of its scene and
compared with the depth there: LiDAR depth on nuScenes, depth labels on UnScenes3D. Prints the
errors by distance between the two frames (rounded up to whole meters), by camera, and their mean.
Uses every visible GPU, or the processes that torchrun starts.
"""

import argparse
import sys
from collections.abc import Sequence

from engine.build.build import load_network
from engine.command_line import (
    add_config_options,
    add_split_option,
    add_weight_options,
    read_config,
    weights_to_score,
)
from engine.evaluation.depth_options import add_depth_rule_options, depth_rule
from engine.evaluation.novel_depth import NovelViews, score_novel_depth
from engine.metrics.depth import DepthMeter
from engine.number_options import count, positive, whole_number
from model.novel_view import DEPTH_TARGETS, RENDERERS, ViewOptions
from utils.config import Runtime, read_section
from utils.console import run_script, start_logging
from utils.distributed import process_group, use_all_gpus
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
    add = parser.add_argument
    add("--render", choices=RENDERERS, default="volume", help="render the occupancy "
        "(volume) or the Gaussians of GSRefinement (gaussians) (default: volume)")  # fmt: skip
    add("--num-rays", type=whole_number(2), nargs=2, default=(96, 200), metavar=("ROWS", "COLUMNS"),
        help="size of a rendered depth map (default: 96 200)")  # fmt: skip
    add("--batch", type=whole_number(0), default=0, metavar="N",
        help="rays rendered at a time (default: 0, all)")  # fmt: skip
    add("--depth-tgt", choices=DEPTH_TARGETS, default="raw", help="depth of a ray: its "
        "expected value (raw) or its most likely value (max) (default: raw)")  # fmt: skip
    add_depth_rule_options(parser, largest="end of the rays and largest depth")
    add("--frames", type=count, default=4, metavar="N", help="other frames to render to, the "
        "nearest in time (default: 4)")  # fmt: skip
    add("--max-distance", type=positive, default=20.0, metavar="M", help="largest distance to "
        "another frame [m] (default: 20)")  # fmt: skip
    add("--limit", type=whole_number(0), default=0, metavar="N",
        help="score N frames, evenly spaced (default: 0, all)")  # fmt: skip
    add("--json", type=output_file, metavar="FILE", help="write the errors to FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    with process_group() as process:
        start_logging(process.rank)
        meter = DepthMeter(depth_rule(args))
        options = ViewOptions(
            renderer=args.render,
            depth_target=args.depth_tgt,
            size=tuple(args.num_rays),
            near_m=args.min_depth,
            far_m=args.max_depth,
            rays_at_once=args.batch,
        )
        weights = weights_to_score(args)
        cfg = read_config(args, weights=weights)
        network = load_network(cfg, weights, process.device)
        views = NovelViews(
            cfg,
            args.split,
            frames=args.frames,
            max_distance_m=args.max_distance,
            limit=args.limit,
        )
        workers = read_section(cfg, "runtime", Runtime).num_workers
        score_novel_depth(network, views, meter, options, process, num_workers=workers)
        if process.rank == 0:
            scores = meter.scores()
            if args.json is not None:
                write_json(scores.to_json() | options.to_json(), args.json)
            sys.stdout.write(f"{scores.table()}\n{options.summary}\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments), parallel=True)
