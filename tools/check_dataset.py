"""Check that a data set in the UnScenes3D layout, or RELLIS-3D, is complete and consistent.

    python tools/check_dataset.py data/unscenes3d --json out/check.json
    python tools/check_dataset.py data/Rellis-3D

Reads every file once and changes nothing. Checks stems, formats, sizes and value ranges; the
calibration against point cloud and image; occupancy, local map, depth and elevation against the
point cloud; and poses, the meaning of Tr_velo_to_imu, scenes and splits. docs/prepare_data.md
explains the findings. The exit status is 1 if there are errors; warnings alone do not count.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The frames are checked in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.check.rellis3d import check_rellis3d
from dataset.check.run import check_dataset
from dataset.rellis3d.sequences import is_rellis3d
from engine.number_options import count
from utils.console import run_script, start_logging
from utils.outputs import output_file
from utils.whole_files import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--json", type=output_file, metavar="FILE",
        help="write the report with every finding to FILE")  # fmt: skip
    parser.add_argument(
        "--workers", type=count, metavar="N", help="worker processes (default: one per core)"
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Check, write the JSON file and print the report; exit with status 1 if there are errors."""
    check = check_rellis3d if is_rellis3d(arguments.root) else check_dataset
    report = check(arguments.root, workers=arguments.workers)
    if arguments.json is not None:
        write_json(report.to_json(), arguments.json)
    print(report.table())
    if not report.is_sound:
        sys.exit(1)


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
