r"""Predict frames: ``python predict.py --py-config CONFIG --resume-from FILE --out DIR``.

The frames are those of the config's data set, labels or not, or those of a recording of one's own:

    python predict.py --py-config CONFIG --resume-from FILE --out DIR \
        --images recording/images --clouds recording/clouds --calib recording/calib.json

For each frame DIR gets the files that --format names (``engine/prediction/files.py``).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Subset

from dataset.sample import Sample
from dataset.splits import SPLITS
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_sensors_option,
    read_config,
    sensors_values,
)
from engine.prediction.files import KINDS, FrameWriter
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
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(parser)
    add_device_option(parser)
    add_sensors_option(parser)
    add = parser.add_argument
    add("--resume-from", required=True, type=Path, metavar="FILE",
        help="weights, or a checkpoint with them")  # fmt: skip
    add("--out", required=True, type=output_folder, metavar="DIR", help="folder of the results")
    add("--format", nargs="+", choices=KINDS, default=["npy", "png"], metavar="KIND",
        help="files of each frame: npy, grid of labels; npz, grid and masks as Occ3D's; ply, "
        "coloured points; png, pictures; points, LiDAR returns on the cameras' pictures; "
        "confidence; entropy (default: npy png)")  # fmt: skip
    add("--stems", nargs="+", metavar="STEM", help="only these frames")
    add("--limit", type=int, default=0, metavar="N", help="N frames, spread evenly over the rest")
    add("--amp", choices=PRECISIONS, default="off", help="precision on a GPU (default: off)")
    add("--batch-size", type=int, default=1, metavar="N", help="frames predicted together")
    add("--split", choices=("all", *SPLITS), help="of the data set; all, the default: every frame "
        "on disk, listed or not")  # fmt: skip
    own = parser.add_argument_group("a recording of one's own (docs/custom_data.md)")
    own.add_argument("--images", type=Path, metavar="DIR", help="images STEM.jpg or STEM.png")
    own.add_argument(
        "--clouds", type=Path, metavar="DIR", help="clouds STEM.bin, .npy, .pcd or .ply"
    )
    own.add_argument("--calib", type=Path, metavar="FILE", help="one calibration: .txt or .json")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Predict, write and say how long it took.

    Raises:
        ValueError: If the command line names a data set and a recording at once.
    """
    start_logging()
    paths = RecordingPaths(args.images, args.clouds, args.calib)
    is_own = any(path is not None for path in paths)
    if is_own and (args.data_root or args.split):
        raise ValueError("--images, --clouds and --calib are a recording, --data-root and --split "
            "a data set: give one of them")  # fmt: skip
    cfg = read_config(args, sensors_values(args))
    predictor = build_predictor(cfg, args.resume_from, device=args.device, amp=args.amp)
    chosen = dict(stems=args.stems, limit=args.limit)
    frames: PredictionFrames | Subset[Sample]
    if is_own:
        frames = open_recording(cfg, paths, **chosen)
    else:
        frames = PredictionFrames(cfg, args.split or "all", **chosen, is_shown="png" in args.format)
    timing = predict_frames(
        predictor,
        frames,
        FrameWriter(args.out, args.format, predictor.grid, predictor.labels),
        batch_size=args.batch_size,
        num_workers=read_section(cfg, "runtime", Runtime).num_workers,
    )
    say(f"{timing}; results in {args.out}")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
