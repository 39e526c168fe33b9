"""Learn a few frames by heart: the quickest sign that data, network and losses fit together.

    python tools/overfit.py --py-config config/minesim/minesim_full.py --frames 8 --iterations 800

The frames stay in memory, are not augmented, and are scored on themselves; a network that cannot
reach a high mIoU here has no chance elsewhere. Exit code 1 if --target is missed.
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
from dataset.sample import Batch, collate
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
from model.unsocc import UnsOcc, required
from utils.config import PRECISIONS, Schedule, read_section
from utils.console import run_script, say, start_logging
from utils.distributed import pick_device
from utils.labels import label_set


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser)
    add_device_option(parser)
    add = parser.add_argument
    add("--frames", type=int, default=8, metavar="N", help="first frames of the train split [8]")
    add("--iterations", type=int, default=800, metavar="N", help="updates of the weights [800]")
    add("--amp", choices=PRECISIONS, default="off", help="precision")
    add("--target", type=float, default=90.0, help="mIoU to reach [90 percent]")
    add_seed_option(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Train, score, say both."""
    start_logging()
    if args.iterations < 1:
        raise ValueError(f"--iterations is at least 1, got {args.iterations}")
    cfg = read_config(args)
    cfg.augmentation = None
    cfg = balance_classes(cfg)
    device = pick_device(args.device)
    schedule = replace(read_section(cfg, "schedule", Schedule), amp=args.amp)
    batches = read_batches(cfg, args.frames, schedule.batch_size, device)
    network = place(build_model(cfg, seed=args.seed), device)
    started = time.perf_counter()
    learn(network, batches, schedule, args.iterations, device)
    say(f"{args.iterations} iterations in {time.perf_counter() - started:.0f} s")
    scores = score(network, batches, cfg, schedule.amp, device)
    sys.stdout.write(scores.table(describe_grid(build_grid(cfg), LABEL_GRID)) + "\n")
    if not 100 * scores.miou >= args.target:
        say(f"mIoU {100 * scores.miou:.2f} is below the target of {args.target:g}")
        sys.exit(1)


def read_batches(cfg: Config, frames: int, size: int, device: torch.device) -> list[Batch]:
    """The first frames of the train split, as batches on the device.

    Raises:
        ValueError: If there are fewer frames.
    """
    data = build_dataset(cfg, "train", training=True)
    if not 0 < frames <= len(data):
        raise ValueError(f"--frames {frames}: the train split has {len(data)} frames")
    samples = [data[index] for index in range(frames)]
    return [collate(samples[i : i + size]).to(device) for i in range(0, frames, size)]


def learn(
    network: UnsOcc, batches: list[Batch], schedule: Schedule, iterations: int, device: torch.device
) -> None:
    """Go through the batches again and again, with one cosine of the learning rate."""
    optimizer = build_optimizer(network, schedule, device)
    decay = torch.optim.lr_scheduler.OneCycleLR(
        optimizer.optimizer, schedule.lr, total_steps=iterations, pct_start=schedule.warmup_share
    )
    network.train()
    with trange(iterations, desc="learn", file=sys.stderr, mininterval=5) as steps:
        for step in steps:
            terms = network.train_step(batches[step % len(batches)], optimizer)
            decay.step()
            steps.set_postfix(loss=f"{terms['loss'].item():.3f}", refresh=False)


@torch.no_grad()
def score(
    network: UnsOcc, batches: list[Batch], cfg: Config, amp: str, device: torch.device
) -> OccupancyScores:
    """Scores on the same frames."""
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
