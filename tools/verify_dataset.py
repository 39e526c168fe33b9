"""Verify that a data set is the one that another machine made, or write what to verify.

    python tools/verify_dataset.py data/minesim_bench --against config/minesim/bench/data.csv
    python tools/verify_dataset.py data/mine --write mine.csv --title "my mine, version 1"

The file has one row per drive: hashes of its decoded labels and inputs, and sums of them. Machines
that round differently may give other hashes; the sums of a drive then agree within 0.5 %. The
script exits with 1 if a drive is missing, or differs by more.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The drives are read in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset import layout
from dataset.fingerprints import fingerprint_drives, verify, write_fingerprints
from dataset.splits import load_scenes
from engine.number_options import count
from utils.console import run_script, start_logging
from utils.outputs import output_file


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("root", type=Path, metavar="DIR", help="folder of the data set")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--against", type=Path, metavar="FILE", help="fingerprints to compare with")
    mode.add_argument("--write", type=output_file, metavar="FILE", help="write them to FILE")
    add("--title", default="", metavar="TEXT", help="first line of the file: name and version")
    add("--workers", type=count, metavar="N", help="worker processes (default: one per core)")
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Write or compare the fingerprints.

    Raises:
        FileNotFoundError: If the data set lists no drives.
        ValueError: If the data set differs from what is expected.
    """
    root = arguments.root
    if arguments.against is not None:
        print(verify(root, arguments.against, workers=arguments.workers).describe())
        return
    scenes = load_scenes(root)
    if not scenes:
        path = f"{layout.IMAGESETS}/{layout.SCENE_INFO}"
        raise FileNotFoundError(f"{root} has no {path}, which lists its drives")
    found = fingerprint_drives(root, scenes, workers=arguments.workers)
    write_fingerprints(found, arguments.title or root.name, arguments.write)
    print(f"{arguments.write}: {len(found)} drives")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
