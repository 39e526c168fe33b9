"""Score a network: ``python eval_iou.py --py-config CONFIG --work-dir DIR [--resume-from FILE]``.

Prints IoU, precision and recall of occupied-or-not, the IoU of each class and their means. Uses
every visible GPU, or the processes that ``torchrun`` starts; each frame counts once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dataset.layout import LABEL_GRID
from utils.build import build_grid, build_model
from utils.build_runner import build_evaluator
from utils.checkpoint import BEST, load_weights, write_json
from utils.config import PRECISIONS, Schedule, load_config, parse_options, read_section
from utils.console import run_script, start_logging
from utils.distributed import process_group, use_all_gpus
from utils.metrics.evaluator import OccupancyMetric
from utils.metrics.occupancy import CONVENTIONS, describe_grid

NUSCENES_OPTIONS = ("occ3d", "resolution", "use_mask", "scene_size", "thresh", "save_sem")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--py-config", required=True, help="config file")
    add("--work-dir", required=True, type=Path, help="folder of the training; logs go there")
    add("--resume-from", type=Path, help=f"weights; default: {BEST} of the work directory")
    add("--split", choices=("train", "val", "test"), default="val")
    add("--batch-size", type=int, help="frames at a time; default: the config's")
    add("--amp", choices=PRECISIONS, default="off", help="precision to predict in")
    add("--convention", choices=sorted(CONVENTIONS), default="default", help="how means are taken")
    add("--save-pred", type=Path, metavar="DIR", help="write each prediction to DIR/STEM.npy")
    add("--json", type=Path, metavar="FILE", help="write the scores")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")
    add("--sem", action="store_true", help="per-class IoU besides IoU; always given here")
    nuscenes = parser.add_argument_group("nuScenes only")
    nuscenes.add_argument("--occ3d", action="store_true", help="Occ3D labels")
    nuscenes.add_argument("--resolution", type=float, help="voxel of the evaluated grid [m]")
    nuscenes.add_argument("--use-mask", action="store_true", help="count what the cameras see")
    nuscenes.add_argument("--scene-size", type=int, help="number of the evaluated range")
    nuscenes.add_argument("--thresh", type=float, help="density from which a voxel is occupied")
    nuscenes.add_argument("--save-sem", type=Path, metavar="DIR", help="write SCENE/TOKEN files")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    given = [name for name in NUSCENES_OPTIONS if getattr(args, name) not in (None, False)]
    with process_group() as process:
        start_logging(process.rank)
        cfg = load_config(args.py_config, parse_options(args.cfg_options))
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(
                f"{flags}: for the label grids of nuScenes; {cfg.dataset.type} is scored on the "
                "config's own 'grid': leave them out"
            )
        network = build_model(cfg)
        load_weights(network, args.resume_from or args.work_dir / BEST)
        metric = OccupancyMetric(cfg.labels, args.convention, args.save_pred)
        batch_size = args.batch_size or read_section(cfg, "schedule", Schedule).batch_size
        evaluator = build_evaluator(
            cfg,
            network,
            metric,
            args.work_dir,
            process,
            split=args.split,
            batch_size=batch_size,
            precision=args.amp,
        )
        evaluator.val()
        if process.rank == 0 and metric.scores is not None:
            grid = describe_grid(build_grid(cfg), LABEL_GRID)
            sys.stdout.write(metric.scores.table(grid) + "\n")
            if args.json is not None:
                write_json(metric.scores.to_json(), args.json)


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments))
