r"""Make occupancy, depth and elevation labels from clouds and poses of your own recordings.

    python tools/make_labels.py recording --out data/mine
    python tools/make_labels.py drive_1 drive_2 --val drive_3 --out data/mine --workers 8

Writes a data set in the UnScenes3D layout, which train.py reads. A recording is a folder with
clouds/, calib.json, poses.txt and, with a camera, images/ (docs/own_data.md). Run the same command
again to resume.

Classes come from labels/STEM.label, from boxes in boxes.json, tracklet_labels.xml or
label_2/STEM.txt, from masks/STEM.png, or from the geometry alone. tools/convert_nuscenes.py and
tools/convert_rosbag.py write recordings.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Clips are labeled in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.labeling.make import LabelJob, make_labels
from dataset.labeling.options import REST_CLASSES, LabelOptions
from engine.label_options import setting
from engine.number_options import count
from utils.console import run_script, start_logging
from utils.outputs import output_folder


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recordings", type=Path, nargs="*", metavar="RECORDING", help="recordings to train on")
    add("--val", type=Path, nargs="+", default=[], metavar="RECORDING", help="for validation")
    add("--test", type=Path, nargs="+", default=[], metavar="RECORDING", help="for tests")
    add("--out", type=output_folder, required=True, metavar="DIR", help="folder of the data set")
    add("--camera", metavar="NAME", help="camera to use if the recordings have several")
    add(
        "--mapping",
        type=Path,
        metavar="FILE",
        help="classes of point labels, boxes and masks, such as config/labels/kitti.json or "
        "config/labels/nuscenes.json",
    )
    add(
        "--rest",
        choices=REST_CLASSES,
        default="barrier",
        help="class of points that are neither labeled nor ground; unknown is ignored "
        "(default: barrier)",
    )
    add(
        "--set",
        type=setting,
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="other options, such as key_every_s=1 or remove_movers=false (docs/own_data.md)",
    )
    add("--workers", type=count, metavar="N", help="number of processes (default: one per core)")
    add(
        "--shard",
        type=shard,
        default=(0, 1),
        metavar="I/N",
        help="label only every N-th clip, from clip I on (the first is 0), for several machines",
    )
    parsed = parser.parse_args(arguments)
    if not (parsed.recordings or parsed.val or parsed.test):
        parser.error("expected at least one RECORDING")
    return parsed


def shard(text: str) -> tuple[int, int]:
    """Parse ``I/N``.

    Raises:
        argparse.ArgumentTypeError: If these are not two such numbers.
    """
    index, _, number = text.partition("/")
    if not (index.isdecimal() and number.isdecimal() and int(index) < int(number)):
        raise argparse.ArgumentTypeError(
            f"expected I/N with I from 0 to N - 1, such as 0/4, got '{text}'"
        )
    return int(index), int(number)


def main(arguments: argparse.Namespace) -> None:
    """Make the labels.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a recording or an option is invalid.
    """
    options = LabelOptions(**({"rest": arguments.rest} | dict(arguments.set)))
    recordings = {"train": arguments.recordings, "val": arguments.val, "test": arguments.test}
    job = LabelJob(recordings, arguments.out, options, arguments.camera, arguments.mapping)
    left = make_labels(job, workers=arguments.workers, shard=arguments.shard)
    if left:
        print(f"{left} clips are left to other shards")
    else:
        print(f"labels in {arguments.out}; check them: tools/check_dataset.py {arguments.out}")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(
        lambda: main(options), on_interruption="interrupted; run the same command again to resume"
    )
