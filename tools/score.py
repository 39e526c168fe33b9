"""Score saved predictions against labels, without a network.

    python tools/score.py --pred out/pred --gt data/unscenes3d/occ --json out/scores.json
    python tools/score.py --pred DIR --gt DIR --json OUT --metrics rayiou --origins ORIGINS.npy
    python tools/score.py --pred DIR --gt DIR --json OUT --task depth

Occupancy: each folder has one STEM.npy per frame. It is a dense grid of integer labels (X, Y, Z) of
any size, or sparse rows (N, 4) of x, y, z, class; predictions and labels may differ in this. Voxels
without a row are free. In the UnScenes3D layout, rows of class 0 are free in a prediction and
ignored in a label. Predictions are not scored where the label is ignored; all others must be a
class. RayIoU needs the ray origins and the grid; its defaults are those of Occ3D: 18 labels, free
17, 200×200×16 voxels of 0.4 m.

Depth: each folder has one STEM.npy (H, W) in meters or one STEM.png (uint16, meters × 256) per
frame of one camera; 0 is no label.

Tables of occupancy are in percent. The JSON file has fractions from 0 to 1, and null for undefined
scores. docs/conventions.md explains the conventions.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.scene_files import read_stem_list
from engine.evaluation.folders import score_depth_maps, score_grids
from engine.evaluation.score_options import build_parser, rule_of, task_of
from utils.console import run_script, start_logging
from utils.whole_files import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser(str(__doc__)).parse_args(arguments)


def listed_stems(path: Path) -> list[str]:
    """Read the stems listed in a file.

    Raises:
        ValueError: If it is not a text file, or is empty.
    """
    stems = read_stem_list(path)
    if not stems:
        raise ValueError(f"{path} (--stems) is empty: expected one stem per line")
    return stems


def main(args: argparse.Namespace) -> None:
    """Score, print the tables and write the JSON file."""
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
    units = "meters and fractions" if args.task == "depth" else "fractions"
    print(f"Written to {args.json}, in {units}.")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
