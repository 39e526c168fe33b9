"""Score road elevation: ``python eval_elevation.py --py-config CONFIG --work-dir DIR``.

Prints the published relative errors of 1.0 − z, as the label files hold heights, besides the mean
absolute error in centimetres and the share of cells within 2, 5 and 10 cm. ``--baseline`` scores,
with the same code, what a network has to beat.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.build import build_model, place
from utils.checkpoint import BEST, load_weights, write_json
from utils.config import Runtime, load_config, parse_options, read_section
from utils.console import run_script, start_logging
from utils.distributed import pick_device
from utils.elevation_frames import (
    BASELINES,
    Mapper,
    baseline_mapper,
    network_mapper,
    read_frames,
    score_maps,
)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--py-config", required=True, help="config file")
    add("--work-dir", type=Path, help=f"folder of the training, whose {BEST} is scored")
    add("--resume-from", type=Path, help="other weights, or a checkpoint with them")
    add("--baseline", choices=sorted(BASELINES), help="instead of a network: the mean map of the "
        "training set, or the frame's own LiDAR returns, interpolated")  # fmt: skip
    add("--split", choices=("train", "val", "test"), default="val")
    add("--json", type=Path, metavar="FILE", help="write the scores")
    add("--pictures", type=Path, metavar="DIR", help="draw label, prediction and error")
    add("--limit", type=int, default=0, metavar="N", help="N pictures, spread evenly; 0: of all")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score and print the table."""
    start_logging()
    if args.limit < 0:
        raise ValueError(f"--limit is at least 1, or 0 for all, got {args.limit}")
    cfg = load_config(args.py_config, parse_options(args.cfg_options))
    mapper: Mapper
    if args.baseline is None:
        weights = args.resume_from or (args.work_dir and args.work_dir / BEST)
        if weights is None:
            raise ValueError("which weights? Give --work-dir or --resume-from, or a --baseline")
        network = build_model(cfg)
        mapper = network_mapper(network)
        load_weights(network, weights)
        place(network, pick_device(args.device))
    else:
        mapper = baseline_mapper(cfg, args.baseline)
    method = BASELINES.get(args.baseline, "network")
    scores = score_maps(
        read_frames(cfg, args.split, args.baseline),
        mapper,
        method,
        pictures=args.pictures,
        limit=args.limit,
        num_workers=read_section(cfg, "runtime", Runtime).num_workers,
    ).scores()
    sys.stdout.write(f"{method}, {args.split} of {cfg.data_root}\n{scores.table()}\n")
    if args.json is not None:
        found = {"method": args.baseline or "network", "split": args.split}
        write_json(found | scores.to_json(), args.json)


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
