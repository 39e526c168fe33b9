r"""Convert sequences of RELLIS-3D to recordings, from which tools/make_labels.py makes labels.

    python tools/convert_rellis3d.py data/Rellis-3D --out data/rellis_recordings
    python tools/make_labels.py data/rellis_recordings/00000 --val data/rellis_recordings/00003 \
        --mapping config/labels/rellis3d.json --out data/rellis_labels

Writes OUT/SEQUENCE/ with clouds, point labels, images (as links), poses and calibration. WildOcc's
labels are not needed. Running the same command again rewrites the recordings.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from dataset.rellis3d.layout import SEQUENCES
from dataset.rellis3d.recording import convert, convertible
from dataset.rellis3d.sequences import find_sequences
from utils.console import run_script, start_logging
from utils.outputs import output_folder


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("root", type=Path, metavar="DIR", help="folder of the data set, with 00000/ and so on")
    add("--out", type=output_folder, required=True, metavar="DIR", help="output folder")
    add(
        "--sequences",
        nargs="+",
        choices=SEQUENCES,
        metavar="NAME",
        help="sequences, such as 00000 (default: all that exist)",
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Convert the sequences.

    Raises:
        FileNotFoundError: If a sequence or a file is missing.
        ValueError: If a file is invalid.
    """
    found = find_sequences(arguments.root)
    missing = sorted(set(arguments.sequences or ()) - found.keys())
    if missing:
        raise FileNotFoundError(
            f"'{arguments.root}' lacks the sequences {', '.join(missing)}; it has "
            f"{', '.join(found)}: unpack them, or leave them out"
        )
    for name in arguments.sequences or found:
        folder = arguments.out / name
        frames = len(convertible(found[name]))
        for _ in tqdm(convert(found[name], folder), total=frames, unit="frame", delay=1):
            pass
        print(f"{frames} frames in {folder}")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
