"""Overfit a few frames: the quickest check that data, network and losses work together.

    python tools/overfit.py --py-config config/minesim/minesim_full.py --frames 8 --iterations 800

Trains on the frames without augmentation and scores the network on the same frames. A network that
cannot reach a high mIoU here will not learn a data set either. The exit status is 1 if the mIoU is
below --target.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from mmengine.config import Config
from tqdm import trange

from dataset.layout import LABEL_GRID
from dataset.sample import Batch, collate, required
from engine.build.build import (
    amp_dtype,
    balance_classes,
    build_dataset,
    build_grid,
    build_model,
    build_optimizer,
    place,
)
from engine.command_line import add_config_options, add_device_option, add_seed_option, read_config
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, describe_grid, occupancy_scores
from engine.number_options import count, number
from model.unsocc import UnsOcc
from utils.config import PRECISIONS, Schedule, read_section
from utils.console import run_script, say, start_logging
from utils.distributed import pick_device
from utils.labels import label_set


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser)
    add_device_option(parser)
    add = parser.add_argument
    add("--frames", type=count, default=8, metavar="N", help="use the first N frames of the train "
        "split (default: 8)")  # fmt: skip
    add("--iterations", type=count, default=800, metavar="N", help="optimizer steps (default: 800)")
    add("--amp", choices=PRECISIONS, default="off", help="mixed precision (default: off)")
    add(
        "--target",
        type=number(0, 100),
        default=90.0,
        metavar="PERCENT",
        help="mIoU to reach (default: 90)",
    )
    add_seed_option(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Train, score, and print both results."""
    start_logging()
    cfg = read_config(args)
    cfg.augmentation = None
    cfg = balance_classes(cfg)
    device = pick_device(args.device)
    schedule = replace(read_section(cfg, "schedule", Schedule), amp=args.amp)
    batches = read_batches(cfg, args.frames, schedule.batch_size, device)
    network = place(build_model(cfg, seed=args.seed), device)
    started = time.perf_counter()
    train(network, batches, schedule, args.iterations, device)
    say(f"{args.iterations} iterations in {time.perf_counter() - started:.0f} s")
    scores = score(network, batches, cfg, schedule.amp, device)
    sys.stdout.write(scores.table(describe_grid(build_grid(cfg), LABEL_GRID)) + "\n")
    if not 100 * scores.miou >= args.target:
        say(f"mIoU {100 * scores.miou:.2f} is below the target of {args.target:g}")
        sys.exit(1)


def read_batches(cfg: Config, frames: int, size: int, device: torch.device) -> list[Batch]:
    """Read the first frames of the train split, as batches on the device.

    Raises:
        ValueError: If ``frames`` is not positive or exceeds the split.
    """
    data = build_dataset(cfg, "train", training=True)
    if not 0 < frames <= len(data):
        raise ValueError(
            f"--frames must be from 1 to {len(data)}, the size of the train split, got {frames}"
        )
    samples = [data[index] for index in range(frames)]
    return [collate(samples[i : i + size]).to(device) for i in range(0, frames, size)]


def train(
    network: UnsOcc, batches: list[Batch], schedule: Schedule, iterations: int, device: torch.device
) -> None:
    """Train on the batches in turn, with one cosine cycle of the learning rate."""
    optimizer = build_optimizer(network, schedule, device)
    decay = torch.optim.lr_scheduler.OneCycleLR(
        optimizer.optimizer, schedule.lr, total_steps=iterations, pct_start=schedule.warmup_share
    )
    network.train()
    with trange(iterations, desc="train", file=sys.stderr, mininterval=5) as steps:
        for step in steps:
            terms = network.train_step(batches[step % len(batches)], optimizer)
            decay.step()
            steps.set_postfix(loss=f"{terms['loss']:.3f}", refresh=False)


@torch.no_grad()
def score(
    network: UnsOcc, batches: list[Batch], cfg: Config, amp: str, device: torch.device
) -> OccupancyScores:
    """Score the network on the batches."""
    labels = label_set(cfg.labels)
    confusion = Confusion(labels.num_classes)
    dtype = amp_dtype(amp, device)
    network.eval()
    for batch in batches:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            predictions = network(batch, mode="predict")
        for prediction, label in zip(predictions, required(batch, "occupancy"), strict=True):
            confusion.update(prediction.occupancy.cpu(), label.cpu())
    return occupancy_scores(confusion, labels)


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
