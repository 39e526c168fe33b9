"""Measure the accuracy of labels made from recordings, with held-out clouds.

    python tools/check_labels.py recording
    python tools/check_labels.py data/drives/drive_00000 --mapping config/labels/unscenes3d.json

Makes the labels again without every twelfth cloud, and compares them with the points and rays of
these clouds. For recordings of `tools/make_minesim.py --layout recording`, it also compares the
labels with the simulator's ground truth.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.class_mapping import read_mapping
from dataset.labeling.check import check_labels, table
from dataset.labeling.drive import read_drive
from dataset.labeling.options import LabelOptions
from engine.label_options import setting
from engine.number_options import whole_number
from utils.console import run_script, start_logging


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recordings", type=Path, nargs="+", metavar="RECORDING", help="recordings to label")
    add("--camera", metavar="NAME", help="camera to use if the recordings have several")
    add("--mapping", type=Path, metavar="FILE", help="classes of point labels, boxes and masks")
    add(
        "--set",
        type=setting,
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="options of the labels, as in make_labels.py",
    )
    add(
        "--hold-out",
        type=whole_number(2),
        default=12,
        metavar="N",
        help="hold out every N-th cloud (default: 12)",
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Print a table for each recording.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a recording or an option is invalid.
    """
    options = LabelOptions(**dict(arguments.set))
    mapping = None if arguments.mapping is None else read_mapping(arguments.mapping)
    for recording in arguments.recordings:
        drive = read_drive(recording, arguments.camera)
        result = check_labels(drive, mapping, options, hold_out=arguments.hold_out)
        print(f"{recording}\n{table(result)}")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
