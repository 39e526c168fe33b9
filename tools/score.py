"""Score saved occupancy predictions against labels, without any model.

    python tools/score.py --pred out/pred --gt data/unscenes3d/occ --json out/scores.json

Each folder holds one STEM.npy a frame: a dense grid of integer labels (X, Y, Z) of any size, or
sparse rows (N, 4) of x, y, z, class; the two sides may differ in this. Voxels that no row names
are free. In UnScenes3D's layout a row of class 0 is free in a prediction and ignored in a label.
What is predicted where the label is ignored plays no part; elsewhere a prediction must be a class.

The table shows percent; the JSON file holds fractions 0-1, and null where a score is undefined.
docs/conventions.md explains the conventions.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from dataset.layout import BACKGROUND_ROW, LABEL_GRID
from utils.checkpoint import write_json
from utils.console import run_script, start_logging
from utils.labels import FREE, IGNORE, UNSCENES3D, LabelSet
from utils.metrics.confusion import Confusion
from utils.metrics.files import GridForm, match_stems, read_pair
from utils.metrics.occupancy import (
    CONVENTIONS,
    OccupancyScores,
    find_convention,
    occupancy_scores,
)

LAYOUTS = ("unscenes3d",)


@dataclass(frozen=True)
class Task:
    """What the numbers in the files mean, and how they are scored.

    Attributes:
        labels: The classes.
        form: How sparse rows become grids.
        free_label: Label of free voxels.
        ignore_label: Label of voxels that do not count.
        convention: Name of the convention of the means.
    """

    labels: LabelSet
    form: GridForm
    free_label: int
    ignore_label: int
    convention: str


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pred", type=Path, required=True, help="folder of predictions")
    parser.add_argument("--gt", type=Path, required=True, help="folder of labels")
    parser.add_argument("--json", type=Path, required=True, help="file for the scores")
    parser.add_argument(
        "--stems",
        type=Path,
        help="file of the frames to score, one stem a line; without it both folders must hold "
        "the same frames",
    )
    parser.add_argument("--convention", choices=list(CONVENTIONS), default="default")
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="label set and sparse rows of a data set [unscenes3d]"
    )
    parser.add_argument("--num-classes", type=int, help="another label set: 0 … N-1, free included")
    parser.add_argument("--free-label", type=int, help="its label of free voxels")
    parser.add_argument("--ignore-label", type=int, help="its label of ignored voxels [255]")
    parser.add_argument(
        "--grid",
        type=int,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="voxels of a frame that is sparse on both sides [unscenes3d: 256 256 32]",
    )
    return parser.parse_args(arguments)


def task_of(args: argparse.Namespace) -> Task:
    """What to score and how, from the command line.

    Raises:
        ValueError: If options contradict each other or a number is out of its range.
    """
    grid = None if args.grid is None else tuple(args.grid)
    if grid is not None and min(grid) < 1:
        raise ValueError(f"--grid needs positive numbers of voxels, got {grid}")
    if args.num_classes is None:
        if args.free_label is not None or args.ignore_label is not None:
            raise ValueError("--free-label and --ignore-label belong to --num-classes")
        form = GridForm(grid or LABEL_GRID.shape, FREE, {BACKGROUND_ROW: IGNORE})
        return Task(UNSCENES3D, form, FREE, IGNORE, args.convention)
    if args.layout is not None:
        raise ValueError("--layout and --num-classes exclude each other")
    if args.free_label is None:
        raise ValueError("--num-classes needs --free-label")
    if not 0 <= args.free_label < args.num_classes:
        raise ValueError(
            f"--free-label must be one of 0–{args.num_classes - 1}, got {args.free_label}"
        )
    ignore_label = IGNORE if args.ignore_label is None else args.ignore_label
    if ignore_label == args.free_label:
        raise ValueError(f"label {ignore_label} cannot be both free and ignored")
    form = GridForm(grid, args.free_label)
    labels = numbered_labels(args.num_classes)
    return Task(labels, form, args.free_label, ignore_label, args.convention)


def numbered_labels(num_classes: int) -> LabelSet:
    """A label set whose classes have numbers for names, and no long tail."""
    names = tuple(str(label) for label in range(num_classes))
    return LabelSet("numbered", names, colors=((128, 128, 128),) * num_classes)


def score_folders(
    pred_dir: Path, gt_dir: Path, task: Task, stems: Sequence[str] | None = None
) -> tuple[OccupancyScores, str]:
    """Score all frames of two folders.

    Returns:
        The scores, and the size of the grids for the caption.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a file is broken or holds what is no class.
    """
    confusion = Confusion(
        task.labels.num_classes,
        ignore_label=task.ignore_label,
        ignore_beyond=find_convention(task.convention).ignore_beyond,
    )
    shapes = set()
    for stem in tqdm(match_stems(pred_dir, gt_dir, stems), unit="frame", delay=1):
        pred_path, gt_path = pred_dir / f"{stem}.npy", gt_dir / f"{stem}.npy"
        pred, target = read_pair(pred_path, gt_path, task.form)
        try:
            confusion.update(pred, target)
        except ValueError as error:
            raise ValueError(f"{pred_path} against {gt_path}: {error}") from error
        shapes.add(pred.shape)
    one_shape = len(shapes) == 1
    grid = "×".join(map(str, shapes.pop())) + " voxels" if one_shape else "of several sizes"
    scores = occupancy_scores(confusion, task.labels, task.convention, free_label=task.free_label)
    return scores, grid


def main(args: argparse.Namespace) -> None:
    """Score, print the table, write the JSON file."""
    stems = None
    if args.stems is not None:
        stems = args.stems.read_text(encoding="utf-8").split()
    scores, grid = score_folders(args.pred, args.gt, task_of(args), stems)
    print(scores.table(grid))
    write_json(scores.to_json(), args.json)
    print(f"Written to {args.json}, as fractions.")


if __name__ == "__main__":
    start_logging()
    options = parse_args()
    run_script(lambda: main(options))
