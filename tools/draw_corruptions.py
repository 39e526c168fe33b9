"""Draw each sensor corruption on one frame, to see what the robustness benchmark does.

    python tools/draw_corruptions.py --py-config CONFIG --out DIR [--stem STEM]

Writes DIR/NAME.png for each corruption: the image, and the points from above, clean and at each
severity. Needs no weights. docs/robustness.md defines the corruptions.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.corruptions.frames import CorruptedFrames
from dataset.corruptions.table import CORRUPTIONS
from engine.build.build import build_dataset, build_grid, input_fields
from engine.command_line import add_config_options, add_split_option, read_config
from engine.pictures.corruption_figure import corruption_figure
from engine.pictures.plots import write_figure
from engine.robustness.options import add_corruption_options
from utils.console import run_script, start_logging
from utils.labels import label_set
from utils.outputs import output_folder
from utils.progress import with_progress


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser)
    add_split_option(parser)
    add = parser.add_argument
    add("--stem", metavar="STEM", help="the frame (default: the second of the split, which has one "
        "before it)")  # fmt: skip
    add("--camera", type=int, default=0, metavar="N", help="number of the camera (default: 0)")
    add_corruption_options(parser)
    add("--out", required=True, type=output_folder, metavar="DIR", help="folder of the figures")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Draw the figures."""
    start_logging()
    cfg = read_config(args)
    fields = ("occupancy", *input_fields("both"))
    frames = build_dataset(cfg, args.split, fields=fields)
    if args.stem is not None and args.stem not in frames.stems:
        raise ValueError(
            f"--stem {args.stem}: no frame of '{args.split}'; one is {frames.stems[0]}"
        )
    index = min(1, len(frames) - 1) if args.stem is None else frames.stems.index(args.stem)
    clean = frames[index]
    assert clean.images is not None, "read above"
    if not 0 <= args.camera < len(clean.images):
        raise ValueError(f"--camera must be 0 to {len(clean.images) - 1}, got {args.camera}")
    chosen = args.corruptions or list(CORRUPTIONS)
    for name in with_progress(chosen, "drawing", len(chosen), facts=str):
        samples = {f"{clean.stem}, clean": clean}
        for severity in args.severities:
            corrupted = CorruptedFrames(
                frames, [index], label_set(cfg.labels), CORRUPTIONS[name], severity
            )
            samples[f"severity {severity}"] = corrupted[0]
        figure = corruption_figure(
            name.replace("_", " "), samples, build_grid(cfg), camera=args.camera,
            has_points=CORRUPTIONS[name].sensor != "camera",
        )  # fmt: skip
        write_figure(args.out / f"{name}.png", figure)


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
