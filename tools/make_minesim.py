r"""Generate an open-pit-mine data set in the UnScenes3D or the nuScenes layout, or recordings.

    python tools/make_minesim.py --out data/minesim --scenes 20 --frames 20
    python tools/make_minesim.py --out data/mine_mixed --scenes 40 --frames 10 --conditions all \
        --patches --lidar mixed --camera-variation
    python tools/make_minesim.py --out data/mine_rig --scenes 10 --frames 20 --layout nuscenes
    python tools/make_minesim.py @config/minesim/bench/data.txt --out data/minesim_bench
    python tools/make_minesim.py --out data/drives --scenes 2 --frames 100 --layout recording

The second command draws weather, light, surfaces and sensors for each scene. The third writes six
cameras and a spinning LiDAR to data/mine_rig/nuscenes, with the labels of Occ3D, SurroundOcc and
OpenOccupancy next to it. The fourth reads its options from a file, one or more per line, with #
before comments. The last writes recordings at 10 Hz to try tools/make_labels.py on, with moving
trucks and the true labels of every fifth frame.

The same seed gives the same bytes with any number of workers. Run the same command again to resume
an interrupted run.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# The scenes are generated in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.minesim.scene.environment import CONDITIONS
from dataset.minesim.sensors import rig
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS
from dataset.minesim.write.generate import generate
from dataset.minesim.write.nuscenes import rig as nuscenes_rig
from dataset.minesim.write.nuscenes.generate import generate_nuscenes
from dataset.minesim.write.nuscenes.plan import NuScenesOptions
from dataset.minesim.write.plan import GROUND_CELL_RANGE_M, STEP_RANGE_M, GenerateOptions
from dataset.minesim.write.production import Summary
from dataset.minesim.write.recording import MOST_MOVERS, RecordingOptions, write_recordings
from dataset.minesim.write.variation import SCATTERED, Variation
from engine.number_options import count, number, parse_size, whole_number
from utils.console import run_script, start_logging
from utils.labels import NUSCENES, UNSCENES3D, LabelSet
from utils.outputs import output_folder

LAYOUTS = ("unscenes3d", "nuscenes", "recording")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = _FileParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "--out", type=output_folder, required=True, metavar="DIR", help="output folder"
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="unscenes3d",
        help="unscenes3d: a front camera and a front LiDAR; nuscenes: six cameras and a spinning "
        "LiDAR; recording: clouds, images and poses at 10 Hz, with the ground truth of every fifth "
        "frame (default: unscenes3d)",
    )
    _add_frame_options(parser)
    _add_detail_options(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing MineSim data set")
    _add_variation_options(parser)
    _add_nuscenes_options(parser)
    _add_recording_options(parser)
    found = parser.parse_args(arguments)
    if found.image_size is None:
        of_layout = {
            "unscenes3d": rig.REFERENCE_SIZE,
            "nuscenes": nuscenes_rig.REFERENCE_SIZE,
            "recording": RecordingOptions.image_size,
        }
        found.image_size = of_layout[found.layout]
    _check_layout(parser, found)
    return found


class _FileParser(argparse.ArgumentParser):
    """A parser whose ``@FILE`` has any number of options per line, and comments."""

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """Split a line into options, as a shell does."""
        return shlex.split(arg_line, comments=True)


def _add_frame_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", type=count, required=True, metavar="N", help="number of scenes")
    parser.add_argument(
        "--frames",
        type=count,
        required=True,
        metavar="N",
        help="labeled frames per scene, or all frames of a recording",
    )
    parser.add_argument(
        "--image-size",
        type=parse_size,
        metavar="WxH",
        help="image size (default: 1920x1200, nuscenes: 1600x900, recording: 960x600)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="random seed (default: 0)"
    )
    parser.add_argument(
        "--workers",
        type=worker_count,
        default=None,
        metavar="N",
        help="number of processes, or 'auto' for one per core (default: auto)",
    )
    parser.add_argument(
        "--val",
        type=whole_number(0),
        metavar="N",
        help="number of validation scenes (default: about 15 %%, nuscenes: about 20 %%)",
    )
    parser.add_argument(
        "--test",
        type=whole_number(0),
        metavar="N",
        help="number of test scenes (default: about 15 %%, nuscenes: none)",
    )
    parser.add_argument(
        "--sweeps",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="record unlabeled frames between labeled ones: one, or nine LiDAR sweeps with "
        "--layout nuscenes (default: yes)",
    )


def _add_detail_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--map-voxel",
        type=number(*STEP_RANGE_M),
        default=0.1,
        metavar="M",
        help="spacing in meters of the points that labels are made from (default: 0.1)",
    )
    parser.add_argument(
        "--ground-cell",
        type=number(*GROUND_CELL_RANGE_M),
        default=0.4,
        metavar="M",
        help="edge of the ground triangles in meters; 0.6 is enough for small images "
        "(default: 0.4)",
    )


def _add_variation_options(parser: argparse.ArgumentParser) -> None:
    only = parser.add_argument_group("only with --layout unscenes3d; each scene draws its own")
    only.add_argument(
        "--conditions",
        type=one_of("all", CONDITIONS),
        default=(),
        metavar="NAME,…",
        help=f"'all', or some of {', '.join(CONDITIONS)} (default: standard); one named twice "
        "is drawn twice as often",
    )
    only.add_argument(
        "--patches",
        type=number(0, 1),
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="SHARE",
        help="lay mud, water, oil and gravel, which the LiDAR can hardly distinguish, on the "
        "ground in this share of the scenes (default: none; without a number: all)",
    )
    only.add_argument(
        "--lidar",
        type=one_of("mixed", tuple(LIDAR_MODELS)),
        default=(),
        metavar="MODEL,…",
        help=f"'mixed', or some of {', '.join(LIDAR_MODELS)} (default: livox_hap)",
    )
    only.add_argument(
        "--camera-variation",
        action="store_true",
        help="vary the mounting and the focal length of the camera",
    )

    only.add_argument(
        "--density",
        type=_factor,
        nargs="+",
        default=(),
        metavar="CLASS=FACTOR",
        help=f"place more or fewer objects of some classes: {', '.join(SCATTERED)}",
    )


def _factor(text: str) -> tuple[str, float]:
    """Parse a factor of a class, such as "car=2.5".

    Raises:
        argparse.ArgumentTypeError: If the text has another form, or the class is not scattered.
    """
    name, _, factor = text.partition("=")
    if name not in SCATTERED:
        known = ", ".join(SCATTERED)
        raise argparse.ArgumentTypeError(f"unknown class '{name}'; choose from {known}")
    return name, number(0)(factor)


def one_of(everything: str, known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of names with commas between them, for argparse.

    Args:
        everything: Word that stands for all names.
        known: The names.
    """

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(known) if text == everything else tuple(text.split(","))
        wrong = [name for name in names if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(
                f"unknown name '{wrong[0]}'; choose '{everything}' or from {', '.join(known)}"
            )
        return names

    return parse


def _add_nuscenes_options(parser: argparse.ArgumentParser) -> None:
    only = parser.add_argument_group("only with --layout nuscenes")
    only.add_argument(
        "--num-sweeps",
        type=whole_number(0, 9),
        metavar="N",
        help="LiDAR sweeps between key frames (default: 9)",
    )
    only.add_argument(
        "--lidar-columns",
        type=count,
        metavar="N",
        help="azimuth steps per turn of the 32-beam LiDAR (default: 1084)",
    )


def _add_recording_options(parser: argparse.ArgumentParser) -> None:
    only = parser.add_argument_group("only with --layout recording")
    only.add_argument(
        "--movers",
        type=whole_number(0, MOST_MOVERS),
        metavar="N",
        help=f"moving trucks (default: {RecordingOptions.movers})",
    )


def _check_layout(parser: argparse.ArgumentParser, found: argparse.Namespace) -> None:
    """Exit with an error if an option does not belong to the layout."""
    given = {"--num-sweeps": found.num_sweeps, "--lidar-columns": found.lidar_columns}
    wrong = [name for name, value in given.items() if value is not None]
    if found.layout != "nuscenes" and wrong:
        parser.error(f"{' and '.join(wrong)} can only be used with --layout nuscenes")
    varied = {
        "--conditions": found.conditions,
        "--patches": found.patches,
        "--lidar": found.lidar,
        "--camera-variation": found.camera_variation,
        "--density": found.density,
    }
    if found.layout != "unscenes3d" and any(varied.values()):
        wrong = [name for name, value in varied.items() if value]
        parser.error(f"{' and '.join(wrong)} can only be used with --layout unscenes3d")
    if found.movers is not None and found.layout != "recording":
        parser.error("--movers can only be used with --layout recording")
    of_splits = {"--val": found.val, "--test": found.test, "--force": found.force}
    if found.layout == "recording" and any(of_splits.values()):
        wrong = [name for name, value in of_splits.items() if value]
        parser.error(f"{' and '.join(wrong)} cannot be used with --layout recording")
    if found.layout == "nuscenes" and found.test:
        parser.error("--test can only be used with --layout unscenes3d: v1.0-mini has no test")


def worker_count(text: str) -> int | None:
    """Parse a number of processes; "auto" becomes None.

    Raises:
        argparse.ArgumentTypeError: If the text is neither.
    """
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'auto' or a number >= 1, got '{text}'")
    return int(text)


def make(arguments: argparse.Namespace) -> tuple[Summary, LabelSet]:
    """Generate the data set and return its summary and classes."""
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
            variation=Variation(
                conditions=arguments.conditions,
                patches=arguments.patches,
                lidars=arguments.lidar,
                camera=arguments.camera_variation,
                density=dict(arguments.density),
            ),
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


def make_recordings(arguments: argparse.Namespace) -> str:
    """Write recordings, and return what was done."""
    options = RecordingOptions(
        drives=arguments.scenes,
        frames=arguments.frames,
        image_size=arguments.image_size,
        seed=arguments.seed,
        movers=RecordingOptions.movers if arguments.movers is None else arguments.movers,
        map_voxel_m=arguments.map_voxel,
        ground_cell_m=arguments.ground_cell,
    )
    write_recordings(arguments.out, options, workers=arguments.workers)
    return f"{options.drives} recordings of {options.frames} frames in {arguments.out}"


def table(summary: Summary, labels: LabelSet = UNSCENES3D) -> str:
    """Format the share of each class and the size of each split."""
    labeled = max(1, int(summary.voxels[1:].sum()))
    width = max(18, *map(len, labels.class_names))
    lines = [f"{'class':<{width}} {'voxels':>12} {'share':>9}"]
    for name, voxels in zip(labels.class_names[1:], summary.voxels[1:], strict=True):
        lines.append(f"{name:<{width}} {voxels:>12,} {100 * voxels / labeled:>8.3f}%")
    if labels is UNSCENES3D:
        lines.append(f"{'(background)':<{width}} {summary.voxels[0]:>12,}")
    lines.append("")
    for split, scenes in summary.scenes.items():
        lines.append(f"{split:<6} {len(scenes):>4} scenes")
    lines.append(f"{summary.samples} samples and {summary.sweeps} sweeps in {summary.root}")
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    """Generate the data set and print its summary."""
    if arguments.layout == "recording":
        print(make_recordings(arguments))
        return
    print(table(*make(arguments)))


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(
        lambda: main(options), on_interruption="interrupted; run the same command again to resume"
    )
