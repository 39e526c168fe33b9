r"""Write scenes of nuScenes as recordings with boxes, to make labels from.

    python tools/convert_nuscenes.py data/nuscenes --scenes scene-0061 --out drives
    python tools/make_labels.py drives/scene-0061 --mapping config/labels/nuscenes.json \
        --out data/labels

Works for any data in this layout. Each scene becomes a folder with all clouds of LIDAR_TOP between
and at the key frames, poses, the images of one camera and the annotated boxes (docs/own_data.md).
Clouds and images are links to the data set.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.nuscenes.index import CAMERAS
from dataset.nuscenes.recording import write_recordings
from dataset.nuscenes.splits import ALL, AUTO, VERSIONS, find_version
from utils.console import run_script, start_logging
from utils.outputs import output_folder


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data_root", type=Path, metavar="DIR", help="folder with samples/, sweeps/ and the tables")
    add("--out", type=output_folder, required=True, metavar="DIR", help="folder of the recordings")
    add("--scenes", nargs="+", metavar="NAME", help="scenes, such as scene-0061 (default: all)")
    add(
        "--version",
        choices=(AUTO, *VERSIONS),
        default=AUTO,
        help="folder of the tables (default: the first of these that exists)",
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        "--camera",
        choices=CAMERAS,
        default=CAMERAS[0],
        help="camera whose images to take (default: %(default)s)",
    )
    camera.add_argument(
        "--no-camera",
        dest="camera",
        action="store_const",
        const=None,
        help="take all clouds, including those without an image close in time, but no images",
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Write the recordings and report on each.

    Raises:
        FileNotFoundError: If a table or a file is missing.
        ValueError: If a table is corrupt, or a scene unknown.
    """
    version = find_version(arguments.data_root, ALL, arguments.version)
    written = write_recordings(
        arguments.data_root, version, arguments.scenes, arguments.camera, arguments.out
    )
    for name, scene in written.items():
        print(
            f"{arguments.out / name}: {scene.clouds} clouds, {scene.boxes} boxes; "
            f"{scene.left_out} clouds without an image left out; up to {scene.moved_m:.2f} m of "
            "motion between a cloud and its image"
        )


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
