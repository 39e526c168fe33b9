"""Count voxels, objects and distances per class and split in the occupancy labels of a data set.

    python tools/dataset_statistics.py data/minesim --json out/statistics.json --plot out/shares.png

The table and the plot include the published shares of UnScenes3D for comparison. The last lines of
each table are values for a config: `model.loss.class_weights`, 1 / log(1.2 + share) relative to
driveable_surface, and `model.loss.class_counts`, the voxels of an average frame. Set them to
"from_data" to let training compute them from the training split. The counts are cached in
DIR/statistics/ and updated when a label changes. --distinct also counts each object once per drive,
no matter how many frames show it; it needs poses.

For RELLIS-3D, the voxels of WildOcc's labels are counted, in the classes of --labels. Its table has
the published shares of points, and the weights are relative to the most common class.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The frames are counted in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from matplotlib.figure import Figure

from dataset import layout
from dataset.distinct_objects import count_distinct_objects
from dataset.inventory import require_folders, stems_in, time_order
from dataset.rellis3d.classes import LABEL_SETS
from dataset.rellis3d.sequences import is_rellis3d
from dataset.rellis3d.splits import LISTS, SEQUENCE
from dataset.rellis3d.statistics import count_splits
from dataset.splits import SOURCES, all_splits, load_scenes
from dataset.statistics import (
    BIN_M,
    NUM_BINS,
    PUBLISHED_SHARES,
    Statistics,
    split_statistics,
)
from engine.build.class_balance import class_counts, class_weights
from engine.number_options import count
from engine.pictures.class_chart import ClassRow, class_chart
from engine.pictures.plots import write_figure
from utils.console import run_script, start_logging
from utils.labels import FREE, RELLIS3D, UNSCENES3D, label_set
from utils.outputs import output_file
from utils.whole_files import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--split-source",
        choices=(*SOURCES, SEQUENCE),
        help="how to split the frames, see docs/prepare_data.md; without imagesets/, there is one "
        "split (default: auto; RELLIS-3D: lists)",
    )
    parser.add_argument(
        "--labels",
        choices=[labels.name for labels in LABEL_SETS],
        help="label set; only for RELLIS-3D (default: rellis3d)",
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the counts to FILE")
    parser.add_argument(
        "--plot",
        type=output_file,
        metavar="FILE",
        help="write a chart (.png) of all splits to FILE",
    )
    parser.add_argument(
        "--distinct", action="store_true", help="also count each object once per drive"
    )
    parser.add_argument(
        "--workers", type=count, metavar="N", help="worker processes (default: one per core)"
    )
    return parser.parse_args(arguments)


def splits_of(root: Path, source: str) -> dict[str, tuple[str, ...]]:
    """Return the labeled frames of each split, or of "all" if the data set has no splits.

    Raises:
        FileNotFoundError: If there are no labels.
        ValueError: If the data set has no split of this source.
    """
    require_folders(root, [layout.OCCUPANCY])
    if not (root / layout.IMAGESETS).is_dir():
        return {"all": tuple(sorted(stems_in(root, layout.OCCUPANCY), key=time_order))}
    splits = all_splits(root, source, load_scenes(root))
    return {split: frames.stems for split, frames in splits.items()}


def table(split: str, statistics: Statistics, distinct: np.ndarray | None = None) -> str:
    """Format the counts of one split.

    Args:
        split: Its name.
        statistics: Its counts.
        distinct: Objects of each class, each counted once per drive; None if not counted.
    """
    frames = max(1, statistics.frames)
    lines = [
        f"{split}: {statistics.frames} frames",
        f"{'class':<18}{'voxels':>13}{'share':>11}{'published':>12}{'in frames':>11}"
        f"{'objects':>9}{'per frame':>11}{'median [m]':>12}",
    ]
    for label, name in enumerate(UNSCENES3D.class_names):
        if label == FREE:
            continue
        voxels, objects = statistics.voxels[label], int(statistics.objects[label].sum())
        is_object = label in UNSCENES3D.long_tail
        lines.append(
            f"{name:<18}{voxels.sum():>13,}{100 * statistics.shares[label]:>9.4f} %"
            f"{100 * PUBLISHED_SHARES[name]:>10.4f} %"
            f"{100 * statistics.frames_with[label] / frames:>9.1f} %"
            + (f"{objects:>9,}{objects / frames:>11.2f}" if is_object else f"{'-':>9}{'-':>11}")
            + f"{_median_bin(voxels):>12}"
        )
    lines.append(f"{'(background)':<18}{statistics.counts[FREE]:>13,}")
    if distinct is not None:
        counted = [
            (UNSCENES3D.class_names[label], distinct[label]) for label in UNSCENES3D.long_tail
        ]
        lines.append("distinct: " + ", ".join(f"{name} {number}" for name, number in counted))
    lines.append(f"class_weights={tuple(class_weights(statistics))}")
    lines.append(f"class_counts={tuple(class_counts(statistics))}")
    return "\n".join(lines)


def chart(heading: str, statistics: Statistics) -> Figure:
    """Draw the shares, the published shares, objects per frame and distances."""
    rows = []
    for label, name in enumerate(UNSCENES3D.class_names):
        if label == FREE:
            continue
        voxels = statistics.voxels[label]
        objects = statistics.objects[label].sum() / max(1, statistics.frames)
        rows.append(
            ClassRow(
                name,
                UNSCENES3D.colors[label],
                float(statistics.shares[label]),
                PUBLISHED_SHARES[name],
                f"{objects:.2f}" if label in UNSCENES3D.long_tail else "–",
                tuple((voxels / max(1, voxels.sum())).tolist()),
            )
        )
    rows.sort(key=lambda row: -row.reference_share)
    heads = [f"{BIN_M * i:.0f}–{BIN_M * (i + 1):.0f}" for i in range(NUM_BINS)]
    return class_chart(
        heading, "UnScenes3D as published", rows, note="Objects\nper frame", distances=heads
    )


def content_of(statistics: Statistics, distinct: np.ndarray | None = None) -> dict[str, Any]:
    """Return the counts by class name, for JSON; arguments as for ``table``."""
    names = ("background", *UNSCENES3D.class_names[1:])
    by_name = {
        key: dict(zip(names, values, strict=True))
        for key, values in statistics.to_json().items()
        if key != "frames"
    }
    shares = dict(zip(names, statistics.shares.tolist(), strict=True))
    if distinct is not None:
        by_name["distinct_objects"] = dict(zip(names, distinct.tolist(), strict=True))
    return {
        "frames": statistics.frames,
        "bin_m": BIN_M,
        "shares": shares,
        "class_weights": class_weights(statistics),
        "class_counts": class_counts(statistics),
    } | by_name


def main(arguments: argparse.Namespace) -> None:
    """Count, write the JSON file and the plot, and print the tables.

    Raises:
        FileNotFoundError: If there are no labels.
        ValueError: If a label or an option is invalid.
    """
    root = arguments.root
    if is_rellis3d(root):
        _count_rellis3d(arguments)
        return
    if arguments.labels is not None or arguments.split_source == SEQUENCE:
        raise ValueError(f"--labels and --split-source {SEQUENCE} are only for RELLIS-3D")
    splits = splits_of(root, arguments.split_source or "auto")
    counted = {
        split: split_statistics(root, stems, split, workers=arguments.workers)
        for split, stems in splits.items()
    }
    distinct: dict[str, np.ndarray] = {}
    if arguments.distinct:
        scenes, workers = load_scenes(root), arguments.workers
        distinct = {
            split: count_distinct_objects(
                root, stems, scenes, title=f"objects of {split}", workers=workers
            )
            for split, stems in splits.items()
        }
    if arguments.json is not None:
        content = {
            split: content_of(found, distinct.get(split)) for split, found in counted.items()
        }
        write_json(content, arguments.json)
    if arguments.plot is not None:
        first, *others = counted.values()
        together = sum(others, first)
        write_figure(arguments.plot, chart(f"{root.name}: {together.frames} frames", together))
    tables = [table(split, found, distinct.get(split)) for split, found in counted.items()]
    print("\n\n".join(tables))
    print("\nmedian: median distance of the voxels of a class along the ground")
    if distinct:
        print("distinct: objects of a class, each once per drive; touching ones count as one")


def _count_rellis3d(arguments: argparse.Namespace) -> None:
    """Count the labels of RELLIS-3D, write the JSON file and print the tables."""
    if arguments.plot is not None or arguments.distinct:
        raise ValueError("--plot and --distinct are not for RELLIS-3D: leave them out")
    source = arguments.split_source or LISTS
    labels = label_set(arguments.labels or RELLIS3D.name)
    counted = count_splits(arguments.root, source, labels, workers=arguments.workers)
    if arguments.json is not None:
        write_json({split: found.to_json() for split, found in counted.items()}, arguments.json)
    for split, found in counted.items():
        print(f"{split}: {found.frames} frames", *found.rows(), sep="\n")
        print(f"class_weights={tuple(class_weights(found, int(found.voxels.argmax())))}")
        print(f"class_counts={tuple(class_counts(found))}\n")


def _median_bin(counts: np.ndarray) -> str:
    """Format the distance bin of the median voxel."""
    if counts.sum() == 0:
        return "-"
    index = int(np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2))
    return f"{BIN_M * index:.0f}–{BIN_M * (index + 1):.0f}"


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
