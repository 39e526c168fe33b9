"""Make an open-pit-mine data set in the UnScenes3D layout, or in that of nuScenes.

    python tools/make_minesim.py --out data/minesim --scenes 20 --frames 20
    python tools/make_minesim.py --out data/mine_rig --scenes 10 --frames 20 --layout nuscenes

The second writes six cameras and a spinning LiDAR to data/mine_rig/nuscenes, and the labels of
Occ3D, SurroundOcc and OpenOccupancy beside it.

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

from dataset.minesim.sensors import rig
from dataset.minesim.write.generate import generate
from dataset.minesim.write.nuscenes import rig as nuscenes_rig
from dataset.minesim.write.nuscenes.generate import generate_nuscenes
from dataset.minesim.write.nuscenes.plan import NuScenesOptions
from dataset.minesim.write.plan import GenerateOptions
from dataset.minesim.write.production import Summary
from engine.command_line import size_of_text
from utils.console import run_script, start_logging
from utils.labels import NUSCENES, UNSCENES3D, LabelSet
from utils.outputs import output_folder

LAYOUTS = ("unscenes3d", "nuscenes")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make an open-pit-mine data set in the UnScenes3D or the nuScenes layout."
    )
    parser.add_argument("--out", type=output_folder, required=True, help="folder to write to")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="unscenes3d",
        help="unscenes3d: one camera and a LiDAR, both forward; nuscenes: six cameras and a "
        "spinning LiDAR (default: unscenes3d)",
    )
    parser.add_argument("--scenes", type=int, required=True, help="number of scenes")
    parser.add_argument("--frames", type=int, required=True, help="labelled frames a scene")
    parser.add_argument(
        "--image-size",
        type=size_of_text,
        metavar="WxH",
        help="size of the pictures (default: 1920x1200, nuscenes: 1600x900)",
    )
    parser.add_argument("--seed", type=int, default=0, help="what all is drawn from (default: 0)")
    parser.add_argument(
        "--workers", type=worker_count, default=None, help="processes, or 'auto' (default: auto)"
    )
    parser.add_argument(
        "--val",
        type=int,
        help="scenes for validation (default: about 15 %%, nuscenes: about 20 %%)",
    )
    parser.add_argument(
        "--test", type=int, help="scenes for the test (default: about 15 %%, nuscenes: none)"
    )
    parser.add_argument(
        "--sweeps",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="record an unlabelled frame between labelled ones, nuscenes: the LiDAR's nine "
        "(default: yes)",
    )
    parser.add_argument(
        "--map-voxel",
        type=float,
        default=0.1,
        metavar="M",
        help="labels are made of one point a cube of this edge in metres (default: 0.1)",
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
    _add_nuscenes_options(parser)
    found = parser.parse_args(arguments)
    if found.image_size is None:
        of_layout = {"unscenes3d": rig.REFERENCE_SIZE, "nuscenes": nuscenes_rig.REFERENCE_SIZE}
        found.image_size = of_layout[found.layout]
    _check_layout(parser, found)
    return found


def _add_nuscenes_options(parser: argparse.ArgumentParser) -> None:
    only = parser.add_argument_group("only with --layout nuscenes")
    only.add_argument(
        "--num-sweeps", type=int, metavar="N", help="LiDAR clouds between key frames (default: 9)"
    )
    only.add_argument(
        "--lidar-columns",
        type=int,
        metavar="N",
        help="directions around that each of the 32 beams is fired in (default: 1084)",
    )


def _check_layout(parser: argparse.ArgumentParser, found: argparse.Namespace) -> None:
    """End the script where options and layout do not go together."""
    given = {"--num-sweeps": found.num_sweeps, "--lidar-columns": found.lidar_columns}
    wrong = [name for name, value in given.items() if value is not None]
    if found.layout == "unscenes3d" and wrong:
        parser.error(f"{' and '.join(wrong)} can only be given with --layout nuscenes")
    if found.layout == "nuscenes" and found.test:
        parser.error("--test can only be given with --layout unscenes3d: v1.0-mini has no test")


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


def make(arguments: argparse.Namespace) -> tuple[Summary, LabelSet]:
    """Make the data set; what it came to, and its classes."""
    workers, force = arguments.workers, arguments.force
    if arguments.layout == "unscenes3d":
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
        return generate(arguments.out, options, workers=workers, force=force), UNSCENES3D
    sweeps = 9 if arguments.num_sweeps is None else arguments.num_sweeps
    columns = arguments.lidar_columns
    rig_options = NuScenesOptions(
        scenes=arguments.scenes,
        frames=arguments.frames,
        image_size=arguments.image_size,
        seed=arguments.seed,
        val=arguments.val,
        sweeps=sweeps if arguments.sweeps else 0,
        lidar_columns=nuscenes_rig.COLUMNS if columns is None else columns,
        surface_step_m=arguments.map_voxel,
        ground_cell_m=arguments.ground_cell,
    )
    return generate_nuscenes(arguments.out, rig_options, workers=workers, force=force), NUSCENES


def table(summary: Summary, labels: LabelSet = UNSCENES3D) -> str:
    """The share of each class, and what lies where."""
    labelled = max(1, int(summary.voxels[1:].sum()))
    width = max(18, *map(len, labels.class_names))
    lines = [f"{'class':<{width}} {'voxels':>12} {'share':>9}"]
    for name, count in zip(labels.class_names[1:], summary.voxels[1:], strict=True):
        lines.append(f"{name:<{width}} {count:>12,} {100 * count / labelled:>8.3f}%")
    if labels is UNSCENES3D:
        lines.append(f"{'(background)':<{width}} {summary.voxels[0]:>12,}")
    lines.append("")
    for split, scenes in summary.scenes.items():
        lines.append(f"{split:<6} {len(scenes):>4} scenes")
    lines.append(f"{summary.samples} samples and {summary.sweeps} sweeps in {summary.root}")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Make the data set and say what became of it."""
    print(table(*make(arguments)))


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options), on_interruption="stopped; the same command goes on from here")
