r"""Predict the frames of a data set or of your own recording.

    python predict.py --resume-from FILE --out DIR [--py-config CONFIG] [--data-root DIR]
    python predict.py --resume-from FILE --out DIR \
        --images recording/images --clouds recording/clouds --calib recording/calib.json
    python predict.py --resume-from FILE --out DIR --follow recording --format npy

The first command predicts the data set of the config; it needs no labels. The last one predicts the
frames of a recorder as it writes them, the newest first. Weights without their config, as older
versions wrote them, need --py-config. The files written for each frame depend on --format.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from torch.utils.data import Subset

from dataset.sample import Sample
from dataset.splits import SPLITS
from engine.build.build import check_allow_missing, input_folders
from engine.checkpoint.weights import read_weights
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_missing_option,
    add_sensors_option,
    read_config,
    reject_input_folder,
    sensors_values,
)
from engine.number_options import count, positive, whole_number
from engine.prediction.files import KINDS, FrameWriter
from engine.prediction.follow import follow
from engine.prediction.frames import (
    PredictionFrames,
    RecordingPaths,
    open_recording,
    predict_frames,
)
from engine.prediction.predictor import build_predictor
from utils.config import PRECISIONS, Runtime, read_section
from utils.console import run_script, say, start_logging
from utils.outputs import output_folder


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser, required=False)
    add_device_option(parser)
    add_sensors_option(parser)
    add_missing_option(parser)
    add = parser.add_argument
    add("--resume-from", required=True, type=Path, metavar="FILE", help="checkpoint to load")
    add("--out", required=True, type=output_folder, metavar="DIR", help="output folder")
    add("--format", nargs="+", choices=KINDS, default=["npy", "png"], metavar="KIND",
        help="files per frame: npy, label grid; npz, label grid and masks as in Occ3D; ply, "
        "colored points; png, a page of figures; points, LiDAR points drawn on the camera images; "
        "confidence, probability of the label; entropy, entropy of the class probabilities "
        "(default: npy png)")  # fmt: skip
    add("--stems", nargs="+", metavar="STEM", help="predict only these frames")
    add("--limit", type=whole_number(0), default=0, metavar="N",
        help="predict N frames, evenly spaced (default: 0, all)")  # fmt: skip
    add("--amp", choices=PRECISIONS, default="off", help="mixed precision; on a CPU off or "
        "bf16 (default: off)")  # fmt: skip
    add("--compile", action="store_true", help="compile the network, which takes a while "
        "before the first frame and makes later ones faster; on a GPU it then runs as one CUDA "
        "graph")  # fmt: skip
    add("--batch-size", type=count, default=1, metavar="N", help="frames per batch (default: 1)")
    add("--split", choices=("all", *SPLITS), help="split of the data set; all: every frame on "
        "disk, in a split or not (default: all)")  # fmt: skip
    add = parser.add_argument_group("your own recording (docs/custom_data.md)").add_argument
    add("--images", type=Path, metavar="DIR", help="folder of images STEM.jpg, .jpeg or .png")
    add("--clouds", type=Path, metavar="DIR",
        help="folder of point clouds STEM.bin, .npy, .pcd or .ply")  # fmt: skip
    add("--calib", type=Path, metavar="FILE", help="calibration of all frames, .txt or .json")
    add = parser.add_argument_group("while recording (docs/deployment.md)").add_argument
    add("--follow", type=Path, metavar="DIR", help="predict frames as they arrive in DIR/images "
        "and DIR/clouds, with DIR/calib.json or .txt, and print how long each took; older frames "
        "that wait are skipped")  # fmt: skip
    add("--stop-after", type=positive, metavar="S", help="end when no frame arrived for S seconds "
        "(default: never; Ctrl-C ends it)")  # fmt: skip
    return parser.parse_args(argv)


def check(args: argparse.Namespace) -> None:
    """Check which frames the command line names.

    Raises:
        ValueError: If it names more than one of a data set, a recording and one that grows, or has
            options that are not for it.
    """
    given = {f"--{name.replace('_', '-')}" for name, value in vars(args).items() if value}
    recording, data = {"--images", "--clouds", "--calib"}, {"--data-root", "--split"}
    if given & recording and given & data:
        raise ValueError("--images, --clouds and --calib are for a recording, --data-root and "
            "--split for a data set: use one or the other")  # fmt: skip
    unused = given & {*recording, *data, "--stems", "--limit", "--allow-missing"}
    if args.follow is not None and (unused or args.batch_size > 1):
        raise ValueError(
            f"--follow predicts one frame after another as they arrive, from all sensors of the "
            f"network: leave out {' and '.join(sorted(unused)) or '--batch-size'}"
        )
    if args.stop_after is not None and args.follow is None:
        raise ValueError("--stop-after is for --follow: leave it out")


def folders_read(args: argparse.Namespace, cfg: Config) -> list[Path]:
    """Return the folders that the frames come from."""
    if args.follow is not None:
        return [args.follow / "images", args.follow / "clouds"]
    given = [folder for folder in (args.images, args.clouds) if folder is not None]
    return given or input_folders(cfg)


def main(args: argparse.Namespace) -> None:
    """Predict the frames, write the files and report the time.

    Raises:
        ValueError: If options do not go together.
    """
    start_logging()
    check(args)
    paths = RecordingPaths(args.images, args.clouds, args.calib)
    weights = read_weights(args.resume_from)
    cfg = read_config(args, sensors_values(args), weights=weights)
    reject_input_folder(args.out, folders_read(args, cfg))
    predictor = build_predictor(
        cfg, weights, device=args.device, amp=args.amp, compiled=args.compile
    )
    writer = FrameWriter(args.out, args.format, predictor.grid, predictor.labels)
    if args.follow is not None:
        followed = follow(cfg, predictor, args.follow, writer, idle_s=args.stop_after)
        say(f"{followed}; results in {args.out}")
        return
    if args.allow_missing:
        check_allow_missing(cfg, predictor.network)
    chosen = dict(stems=args.stems, limit=args.limit, allow_missing=args.allow_missing)
    frames: PredictionFrames | Subset[Sample]
    if any(path is not None for path in paths):
        frames = open_recording(cfg, paths, **chosen)
    else:
        frames = PredictionFrames(
            cfg, args.split or "all", **chosen, with_extras="png" in args.format
        )
    timing = predict_frames(
        predictor,
        frames,
        writer,
        batch_size=args.batch_size,
        num_workers=read_section(cfg, "runtime", Runtime).num_workers,
        allow_missing=args.allow_missing,
    )
    say(f"{timing}; results in {args.out}")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
