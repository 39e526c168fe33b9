"""Predict and draw frames: ``python predict.py --py-config CONFIG --resume-from FILE --out DIR``.

Works on any folder in the data set's layout, labels or not. For each frame DIR gets ``STEM.png``
(picture and points, prediction; label and errors where there is a label) and ``STEM.npy`` (the
predicted grid, as ``eval_iou.py --save-pred`` writes it).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.build import build_grid, build_model, place
from utils.checkpoint import load_weights
from utils.config import Runtime, load_config, parse_options, read_section
from utils.console import run_script, say, start_logging
from utils.distributed import pick_device
from utils.labels import label_set
from utils.predict_frames import Frames, predict_frames


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--py-config", required=True, help="config file")
    add("--resume-from", required=True, type=Path, help="weights, or a checkpoint with them")
    add("--data-root", help="folder of the data set; default: the config's")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    add("--split", choices=("all", "train", "val", "test"), default="all",
        help="all: every frame on disk, listed or not")  # fmt: skip
    add("--stems", nargs="+", metavar="STEM", help="only these frames")
    add("--limit", type=int, default=0, metavar="N", help="N frames, spread evenly over the rest")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Predict, draw and say how long it took."""
    start_logging()
    options = parse_options(args.cfg_options)
    if args.data_root is not None:
        options["data_root"] = args.data_root
    cfg = load_config(args.py_config, options)
    device = pick_device(args.device)
    network = build_model(cfg)
    load_weights(network, args.resume_from)
    timing = predict_frames(
        place(network, device),
        Frames(cfg, args.split, stems=args.stems, limit=args.limit),
        args.out,
        grid=build_grid(cfg),
        labels=label_set(cfg.labels),
        num_workers=read_section(cfg, "runtime", Runtime).num_workers,
    )
    say(f"{timing}; results in {args.out}")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
