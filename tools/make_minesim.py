"""Make an open-pit-mine data set in the UnScenes3D layout.

    python tools/make_minesim.py --out data/minesim --scenes 20 --frames 20

The same seed gives the same bytes, with any number of workers. An interrupted run goes on where it
stopped when the same command is given again.
"""

import argparse
import os
import sys
from pathlib import Path

# The scenes are made in parallel; threads inside each would only be in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.minesim.generate import Summary, generate
from dataset.minesim.plan import SPLITS, GenerateOptions
from utils.labels import UNSCENES3D


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make an open-pit-mine data set in the UnScenes3D layout."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--scenes", type=int, required=True, help="number of scenes")
    parser.add_argument("--frames", type=int, required=True, help="labelled frames a scene")
    parser.add_argument(
        "--image-size",
        type=image_size,
        default=(1920, 1200),
        metavar="WxH",
        help="size of the pictures (default: 1920x1200)",
    )
    parser.add_argument("--seed", type=int, default=0, help="what all is drawn from (default: 0)")
    parser.add_argument(
        "--workers", type=worker_count, default=None, help="processes, or 'auto' (default: auto)"
    )
    parser.add_argument("--val", type=int, help="scenes for validation (default: about 15 %%)")
    parser.add_argument("--test", type=int, help="scenes for the test (default: about 15 %%)")
    parser.add_argument(
        "--sweeps",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="record an unlabelled frame between labelled ones (default: yes)",
    )
    parser.add_argument(
        "--map-voxel",
        type=float,
        default=0.1,
        metavar="M",
        help="local maps keep one point a cube of this edge in metres (default: 0.1)",
    )
    parser.add_argument(
        "--ground-cell",
        type=float,
        default=0.4,
        metavar="M",
        help="edge of the ground's triangles in metres; 0.6 will do for small pictures "
        "(default: 0.4)",
    )
    parser.add_argument("--force", action="store_true", help="replace a MineSim data set there")
    return parser.parse_args(arguments)


def image_size(text: str) -> tuple[int, int]:
    """Width and height out of "1920x1200".

    Raises:
        argparse.ArgumentTypeError: If the text is not of that form.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1920x1200, got '{text}'")
    return int(parts[0]), int(parts[1])


def worker_count(text: str) -> int | None:
    """A number of processes, or None for "auto".

    Raises:
        argparse.ArgumentTypeError: If the text is neither.
    """
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'auto' or a number from 1 on, got '{text}'")
    return int(text)


def table(summary: Summary) -> str:
    """The share of each class, and what lies where."""
    labelled = max(1, int(summary.voxels[1:].sum()))
    lines = [f"{'class':<18} {'voxels':>12} {'share':>9}"]
    for name, count in zip(UNSCENES3D.class_names[1:], summary.voxels[1:], strict=True):
        lines.append(f"{name:<18} {count:>12,} {100 * count / labelled:>8.3f}%")
    lines.append(f"{'(background)':<18} {summary.voxels[0]:>12,}")
    lines.append("")
    for split in SPLITS:
        lines.append(f"{split:<6} {len(summary.scenes[split]):>4} scenes")
    lines.append(f"{summary.samples} samples and {summary.sweeps} sweeps in {summary.root}")
    return "\n".join(lines)


def main() -> int:
    """Make the data set and say what became of it."""
    arguments = parse_arguments()
    try:
        options = GenerateOptions(
            scenes=arguments.scenes,
            frames=arguments.frames,
            image_size=arguments.image_size,
            seed=arguments.seed,
            val=arguments.val,
            test=arguments.test,
            sweeps=arguments.sweeps,
            map_voxel_m=arguments.map_voxel,
            ground_cell_m=arguments.ground_cell,
        )
        summary = generate(arguments.out, options, workers=arguments.workers, force=arguments.force)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"make_minesim: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake_minesim: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(table(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
