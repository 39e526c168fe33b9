"""Train a network: ``python train.py --py-config CONFIG --work-dir DIR``.

Uses every visible GPU, or the processes that ``torchrun`` starts, on one machine or several. Where
``DIR/latest.pth`` exists, the run goes on from it, as if it had never stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from engine.command_line import add_config_options, add_seed_option, read_config
from engine.training.plan import dry_run
from engine.training.trainer import build_trainer, find_checkpoint
from utils.checkpoint import LATEST
from utils.config import PRECISIONS, check_dataset_name
from utils.console import run_script, say, start_logging
from utils.distributed import process_group, use_all_gpus
from utils.outputs import output_folder


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config_options(parser)
    add = parser.add_argument
    add("--work-dir", required=True, type=output_folder, metavar="DIR",
        help="folder of checkpoints, logs and the config")  # fmt: skip
    add("--resume-from", type=Path, metavar="FILE", help="checkpoint to go on from, instead of "
        "latest.pth; weights alone (model_state_dict.pth) are where a new training "
        "begins")  # fmt: skip
    add("--iter-resume", action="store_true", help="also write latest.pth in mid-epoch, every "
        "runtime.checkpoint_iters iterations; else after each epoch")  # fmt: skip
    add_seed_option(parser)
    add("--gradient-accumulation", type=int, help="iterations an update; default: the config's")
    add("--amp", choices=PRECISIONS, help="precision; default: the config's")
    add("--depth-metric", action="store_true", help="also depth errors at each validation: of the "
        "predicted occupancy, rendered at each frame's own cameras")  # fmt: skip
    add("--dataset", help="name of the data set, checked against the config: unscenes3d, nuscenes")
    add("--dry-run", action="store_true", help="check everything, say what would happen, and end")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Train, or say what training would do."""
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
            say(dry_run(cfg, process, args.seed))
            return
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


def how_to_go_on(args: argparse.Namespace) -> str:
    """What to say to somebody who stopped the training."""
    change = "" if args.resume_from is None else " without --resume-from"
    latest = args.work_dir / LATEST
    return f"stopped; the same command{change} goes on from {latest}, if that is there"


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(lambda: main(arguments), on_interruption=how_to_go_on(arguments))
