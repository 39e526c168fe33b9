"""Score saved predictions against labels, without any model.

    python tools/score.py --pred out/pred --gt data/unscenes3d/occ --json out/scores.json
    python tools/score.py --pred DIR --gt DIR --json OUT --metrics rayiou --origins ORIGINS.npy
    python tools/score.py --pred DIR --gt DIR --json OUT --task depth

Occupancy: each folder holds one STEM.npy a frame, a dense grid of integer labels (X, Y, Z) of any
size, or sparse rows (N, 4) of x, y, z, class; the two sides may differ in this. Voxels that no row
names are free. In UnScenes3D's layout a row of class 0 is free in a prediction and ignored in a
label. What is predicted where the label is ignored plays no part; elsewhere a prediction must be a
class. RayIoU needs to know where the rays start and where the voxels stand; it is Occ3D's by
default: 18 labels, free 17, 200×200×16 voxels of 0.4 m.

Depth: each folder holds one STEM.npy (H, W) of metres or one STEM.png (uint16, metres × 256) a
frame, taken by one camera; 0 is no label.

The table of occupancy shows percent; the JSON file holds fractions 0-1, and null where a score is
undefined. docs/conventions.md explains the conventions.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.formats import read_stem_list
from engine.evaluation.folders import score_depth_maps, score_grids
from engine.evaluation.score_options import build_parser, rule_of, task_of
from utils.console import run_script, start_logging
from utils.whole_files import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return build_parser(str(__doc__)).parse_args(arguments)


def listed_stems(path: Path) -> list[str]:
    """The frames that a file names.

    Raises:
        ValueError: If it is no text, or names none.
    """
    stems = read_stem_list(path)
    if not stems:
        raise ValueError(f"{path} (--stems) names no frame: expected one stem a line")
    return stems


def main(args: argparse.Namespace) -> None:
    """Score, print the tables, write the JSON file."""
    stems = None if args.stems is None else listed_stems(args.stems)
    if args.task == "depth":
        depth = score_depth_maps(args.pred, args.gt, rule_of(args), stems)
        tables, scores = [depth.table()], depth.to_json()
    else:
        found = score_grids(args.pred, args.gt, task_of(args), stems)
        parts = [part for part in (found.occupancy, found.rays) if part is not None]
        tables, scores = [part.table(found.grid) for part in parts], {}
        for part in parts:
            scores |= part.to_json()
    write_json(scores, args.json)
    print("\n\n".join(tables))
    print(f"Written to {args.json}, as {'metres and ' if args.task == 'depth' else ''}fractions.")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
