"""Train a network.

    python train.py --py-config CONFIG --work-dir DIR

Uses every visible GPU, or the processes that torchrun starts, on one machine or several. If
DIR/latest.pth exists, training resumes from it and continues exactly as without the interruption.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from engine.checkpoint.files import LATEST
from engine.command_line import add_config_options, add_seed_option, read_config
from engine.number_options import count
from engine.training.plan import dry_run
from engine.training.trainer import build_trainer, find_checkpoint
from utils.config import PRECISIONS, check_dataset_name
from utils.console import run_script, say, start_logging
from utils.distributed import process_group, use_all_gpus
from utils.folder_lock import locked
from utils.outputs import output_folder


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser)
    add = parser.add_argument
    add("--work-dir", required=True, type=output_folder, metavar="DIR",
        help="folder for checkpoints, logs and the config")  # fmt: skip
    add("--resume-from", type=Path, metavar="FILE", help="checkpoint to resume from (default: "
        "latest.pth of the work directory, if any); model_state_dict.pth holds weights only and "
        "starts a new training")  # fmt: skip
    add("--iter-resume", action="store_true", help="save latest.pth every "
        "runtime.checkpoint_iters iterations, too, not only after each epoch")  # fmt: skip
    add_seed_option(parser)
    add("--gradient-accumulation", type=count, metavar="N",
        help="iterations per optimizer step (default: from the config)")  # fmt: skip
    add("--amp", choices=PRECISIONS, help="mixed precision (default: from the config)")
    add("--depth-metric", action="store_true", help="also report depth errors at validation: the "
        "predicted occupancy is rendered to the cameras of its frame")  # fmt: skip
    add("--dataset", metavar="NAME", help="check that the config is for this data set: "
        "unscenes3d, nuscenes, rellis3d or recordings")  # fmt: skip
    add("--dry-run", action="store_true", help="check everything and print the plan; no training")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Train, or print the plan of a dry run."""
    values = {}
    if args.gradient_accumulation is not None:
        values["schedule.gradient_accumulation"] = args.gradient_accumulation
    if args.amp is not None:
        values["schedule.amp"] = args.amp
    with process_group() as process:
        start_logging(process.rank)
        cfg = read_config(args, values)
        check_dataset_name(cfg, args.dataset)
        if args.dry_run:
            say(dry_run(cfg, process, args.seed, depth_metric=args.depth_metric))
            return
        with locked(args.work_dir) if process.rank == 0 else nullcontext():
            trainer = build_trainer(
                cfg,
                args.work_dir,
                process,
                seed=args.seed,
                resume_from=find_checkpoint(args.work_dir, args.resume_from),
                iter_resume=args.iter_resume,
                depth_metric=args.depth_metric,
            )
            trainer.train()


def resume_hint(args: argparse.Namespace) -> str:
    """Tell how to resume after an interruption."""
    change = "" if args.resume_from is None else " without --resume-from"
    latest = args.work_dir / LATEST
    return f"stopped; run the same command{change} again to resume from {latest}, if it exists"


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments), on_interruption=resume_hint(arguments), parallel=True)
