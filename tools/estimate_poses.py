"""Estimate the poses of a recording from its point clouds, and write its poses.txt.

    python tools/estimate_poses.py recording

Needs kiss-icp: pip install -r requirements-poses.txt -c constraints.txt. Run the same command again
to resume. poses.json, next to poses.txt, states the quality of the poses. Poses that are not good
enough are not written. docs/custom_data.md describes options and output.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.odometry.estimate import EstimateOptions, estimate_poses
from dataset.odometry.sweeps import SweepOptions
from dataset.rig import read_rig
from engine.number_options import number, whole_number
from utils.console import run_script, start_logging


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recording", type=Path, help="folder with clouds/ and, if there is one, calib.json")
    add(
        "--overwrite",
        action="store_true",
        help="replace measured poses, too; they are kept in poses_measured.txt",
    )
    add(
        "--min-overlap",
        type=number(0.0, 1.0),
        default=0.5,
        metavar="SHARE",
        help="smallest share of points that a neighboring cloud confirms (default: %(default)s)",
    )
    add(
        "--min-range",
        type=number(0.0),
        default=2.0,
        metavar="M",
        help="ignore closer points, which hit your own vehicle [m] (default: %(default)s)",
    )
    add(
        "--stem-unit",
        type=number(1e-9),
        default=1.0,
        metavar="S",
        help="seconds per unit of the stems, such as 0.1 for frame numbers at 10 Hz "
        "(default: %(default)s)",
    )
    add(
        "--spin",
        type=number(-10.0, 10.0),
        metavar="S",
        help="correct the motion within a sweep: period [s] of a LiDAR that turns clockwise, seen "
        "from above, and looks ahead at the time of the stem; negative: counterclockwise "
        "(default: only if calib.json states time_column)",
    )
    add("--workers", type=whole_number(1), metavar="N", help="processes (default: one per core)")
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Estimate the poses, and print their quality.

    Raises:
        FileNotFoundError: If the recording has no clouds.
        ValueError: If kiss-icp is missing, the recording is invalid, or the poses are not good
            enough.
    """
    path = arguments.recording / "calib.json"
    rig = read_rig(path) if path.exists() else None
    time_column = None if rig is None else rig.time_column
    if time_column is not None and arguments.spin is not None:
        raise ValueError(f"{path}: expected no time_column with --spin, found one: use either")
    sweep = SweepOptions(
        stated={} if rig is None else rig.clouds,
        time_column=time_column,
        spin_s=arguments.spin,
        min_range_m=arguments.min_range,
    )
    options = EstimateOptions(
        sweep=sweep,
        min_overlap=arguments.min_overlap,
        stem_unit_s=arguments.stem_unit,
        overwrite=arguments.overwrite,
        workers=arguments.workers,
    )
    found = estimate_poses(arguments.recording, options)["quality"]
    print(
        f"{found['frames']} poses over {found['length_m']} m in {arguments.recording}/poses.txt: "
        f"{found['overlap_median']:.0%} of the points overlap with the next cloud (lowest "
        f"{found['overlap_lowest']:.0%}, after {found['overlap_lowest_after']})"
    )


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
