"""Score novel-view depth: ``python eval_novel_depth.py --py-config CONFIG --work-dir DIR``.

The volume predicted at one frame, rendered at the camera poses of other frames of the scene, is to
be compared with the depth measured there. The command line is settled; that rendering is not there
yet, and the script says so and ends with exit status 2.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

MISSING = (
    "eval_novel_depth.py: error: novel-view depth cannot be scored yet. Missing: rendering the "
    "depth of a predicted volume at the camera poses of other frames. Nothing was read or written. "
    "eval_iou.py scores the occupancy of the same checkpoints.\n"
)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--py-config", required=True, help="config file")
    add("--work-dir", required=True, type=Path, help="folder of the results")
    add("--resume-from", type=Path, help="weights to score")
    add("--seed", type=int, default=42)
    add("--renderer", choices=("volume", "gaussians"), default="volume", help="how depth is made")
    add("--num-rays", type=int, nargs=2, default=(96, 200), metavar=("ROWS", "COLUMNS"),
        help="size of the rendered depth map")  # fmt: skip
    add("--batch", type=int, default=0, help="rays rendered at a time; 0: all of a depth map")
    add("--depth-tgt", choices=("raw", "max"), default="raw", help="depth of a ray: its expected "
        "value (raw) or where the ray most likely ends (max)")  # fmt: skip
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Say what is missing, and end with exit status 2."""
    del args  # The arguments are checked by being parsed.
    sys.stderr.write(MISSING)
    sys.exit(2)


if __name__ == "__main__":
    main(parse_arguments())
