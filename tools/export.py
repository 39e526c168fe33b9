r"""Export a trained network to one file that runs without this repository.

    python tools/export.py --resume-from FILE --out net.pt2 --image-size 1920x1200
    python tools/export.py --resume-from FILE --out net.pt2 --image-size 1920x1200 \
        --device cuda --precision bf16 --data-root DIR
    python tools/export.py --resume-from FILE --out net.onnx --format onnx --image-size 1920x1200

The file takes a frame as recorded: images of the stated size, projections, and points padded to a
fixed number. It is compared with the network on frames of a data set or on synthetic frames, and
only written if both predict the same classes. docs/deployment.md explains how to run it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.splits import SPLITS
from engine.checkpoint.weights import read_weights
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_sensors_option,
    read_config,
    sensors_values,
)
from engine.export.export import AMP_OF_PRECISION, Exported, ExportOptions, export
from engine.export.files import FORMATS
from engine.export.signature import EXTRAS
from engine.number_options import count, parse_size
from utils.console import run_script, say, start_logging
from utils.distributed import pick_device
from utils.outputs import output_file


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--resume-from", required=True, type=Path, metavar="FILE", help="checkpoint to export")
    add("--out", required=True, type=output_file, metavar="FILE",
        help="file to write; its ending is that of the format")  # fmt: skip
    add("--format", choices=FORMATS, default="pt2", help="pt2: compiled code for Python and C++; "
        "onnx: for onnxruntime on a CPU (default: pt2)")  # fmt: skip
    add("--precision", choices=list(AMP_OF_PRECISION), default="fp32",
        help="precision; on a CPU fp32 or bf16 (default: fp32)")  # fmt: skip
    add("--image-size", type=parse_size, metavar="WxH", help="size of the recorded images; "
        "needed for networks with a camera")  # fmt: skip
    add("--max-points", type=count, metavar="N", help="rows of the point cloud, padding included "
        "(default: 1.5 times the points of the check frames)")  # fmt: skip
    add("--max-voxels", type=count, nargs="+", default=[], metavar="N", help="room for occupied "
        "voxels at each resolution of the LiDAR encoder, finest first: faster, but others are "
        "dropped and counted (default: room for all)")  # fmt: skip
    add("--outputs", nargs="+", choices=EXTRAS, default=[], metavar="NAME", help="outputs besides "
        "the occupancy: probabilities, of each class; elevation")  # fmt: skip
    add("--split", choices=SPLITS, help="split of the check frames, with --data-root "
        "(default: val)")  # fmt: skip
    add("--frames", type=count, default=4, metavar="N", help="number of check frames (default: 4)")
    add_device_option(parser)
    add_sensors_option(parser)
    add_config_options(parser, required=False)
    return parser.parse_args(argv)


def report(exported: Exported) -> str:
    """Format what was exported."""
    network, ours = exported.network, exported.exported
    return "\n".join(
        [
            str(exported.parity),
            f"{exported.bytes / 2**20:.1f} MiB, written in {exported.compile_s:.0f} s; loads in "
            f"{exported.load_s:.2f} s, then {exported.first_s:.2f} s for the first frame",
            f"a frame takes {ours.median_ms:.1f} ms ({ours.p10_ms:.1f}–{ours.p90_ms:.1f}); the "
            f"network itself, not compiled, {network.median_ms:.1f} ms "
            f"({network.p10_ms:.1f}–{network.p90_ms:.1f})",
        ]
    )


def main(args: argparse.Namespace) -> None:
    """Export the network and report the comparison.

    Raises:
        ValueError: If the file's ending is not that of its format, or --split has no data.
    """
    start_logging()
    if args.out.suffix != f".{args.format}":
        raise ValueError(f"--out must end in .{args.format} with --format {args.format}, got "
            f"{args.out}")  # fmt: skip
    if args.split is not None and args.data_root is None:
        raise ValueError(f"--split {args.split} is for frames of a data set: pass --data-root, too")
    weights = read_weights(args.resume_from)
    cfg = read_config(args, sensors_values(args), weights=weights)
    options = ExportOptions(
        format=args.format,
        device=pick_device(args.device).type,
        precision=args.precision,
        image_size=None if args.image_size is None else args.image_size[::-1],
        max_points=args.max_points,
        max_voxels=tuple(args.max_voxels),
        extras=tuple(name for name in EXTRAS if name in args.outputs),
        split=None if args.data_root is None else args.split or "val",
        frames=args.frames,
    )
    say(report(export(cfg, weights, args.out, options)))
    say(f"{args.out}: written")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
