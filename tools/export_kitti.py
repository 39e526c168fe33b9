"""Export a data set, and optionally predictions, to KITTI sequence folders.

    python tools/export_kitti.py data/minesim --out out/kitti
    python tools/export_kitti.py data/minesim --out out/kitti --split val --pred out/minesim/val

Writes one sequence per scene, OUT/sequences/NNNN/{velodyne,image_2,calibs,voxels}/NNNNNN.*, like
the converter of the UnScenes3D authors. voxels are dense grids of 256×256×32 labels, 0 free and 255
ignored. stems.txt in each sequence maps frames to stems, and OUT/splits.json lists the sequences of
each split.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The frames are written in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset import layout
from dataset.inventory import require_folders
from dataset.kitti_export import SEQUENCES, ExportOptions, export, plan_export, write_splits
from dataset.splits import SOURCES, SPLITS
from engine.number_options import count
from utils.console import run_script, start_logging
from utils.outputs import output_folder


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=output_folder, required=True, metavar="OUT",
        help="output folder")  # fmt: skip
    parser.add_argument(
        "--split", choices=(*SPLITS, "all"), default="all", help="frames to export (default: all)"
    )
    parser.add_argument(
        "--split-source",
        choices=SOURCES,
        default="auto",
        help="how to split the frames, see docs/prepare_data.md (default: auto)",
    )
    parser.add_argument(
        "--pred",
        type=Path,
        metavar="DIR",
        help="also export the predictions DIR/STEM.npy of predict.py, to predictions/",
    )
    parser.add_argument(
        "--dtype",
        choices=("uint8", "float64"),
        default="uint8",
        help="type of the voxels; float64 is the type of the authors' converter, eight times as "
        "large (default: uint8)",
    )
    parser.add_argument("--force", action="store_true", help="add to an existing export")
    parser.add_argument(
        "--workers", type=count, metavar="N", help="worker processes (default: one per core)"
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Write the export and print a summary.

    Raises:
        FileExistsError: If the output folder has an export, and ``--force`` is not given.
    """
    root, out = arguments.root, arguments.out
    require_folders(root, [])
    if (out / SEQUENCES).exists() and not arguments.force:
        raise FileExistsError(
            f"'{out / SEQUENCES}' exists: choose another folder, or pass --force to add to it"
        )
    source = arguments.split_source
    entries = plan_export(root, arguments.split, source)
    options = ExportOptions(arguments.dtype, (root / layout.OCCUPANCY).is_dir(), arguments.pred)
    export(root, out, entries, options, workers=arguments.workers)
    if (root / layout.IMAGESETS).is_dir():
        write_splits(root, out, source)
    sequences = len({entry.sequence for entry in entries})
    print(f"{len(entries)} frames in {sequences} sequences in {out / SEQUENCES}")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
