"""Check a data set in the UnScenes3D layout: is it whole, and do its files agree?

    python tools/check_dataset.py data/unscenes3d --json out/check.json

Every file is read once, nothing is changed. Checked are the joins by stem, formats, sizes and
ranges, the calibration against cloud and image, occupancy, local map, depth and elevation against
the cloud, poses, the reading of Tr_velo_to_imu, scenes and splits. docs/prepare_data.md explains
the findings. Exit status: 0, also with warnings; 1 with errors or without a data set.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Frames are checked in parallel; threads inside each would only be in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.check.run import check_dataset
from utils.console import run_script, start_logging
from utils.outputs import output_file
from utils.whole_files import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="DIR", help="the data set")
    parser.add_argument("--json", type=output_file, help="file for the report, with every finding")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Check, write the JSON file, print the table; exit status 1 if there are errors."""
    report = check_dataset(arguments.root, workers=arguments.workers)
    if arguments.json is not None:
        write_json(report.to_json(), arguments.json)
    print(report.table())
    if not report.is_sound:
        sys.exit(1)


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
