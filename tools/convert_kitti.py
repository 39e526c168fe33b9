"""Convert frames of KITTI's object data set to the UnScenes3D layout, for prediction.

    python tools/convert_kitti.py --kitti kitti_object/training --out data/kitti --stems 000001

An example to adapt to your own recordings; docs/custom_data.md explains it step by step. Writes
images/, clouds/ and calibs/; KITTI has no occupancy labels.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from tqdm import tqdm

from dataset import layout
from dataset.formats import (
    read_calibration_matrices,
    read_cloud,
    read_image,
    read_text,
)
from dataset.recording import files_by_stem
from utils.console import run_script, start_logging
from utils.outputs import output_folder
from utils.whole_files import write_whole

SECTOR_DEG = 60.0
"""Points farther than this off the forward axis are dropped: the networks were trained with a LiDAR
that sees no farther."""
JPEG_QUALITY = 95


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kitti",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with image_2/, velodyne/ and calib/",
    )
    parser.add_argument(
        "--out", type=output_folder, required=True, metavar="DIR", help="output folder"
    )
    parser.add_argument(
        "--stems", nargs="+", metavar="STEM", help="frames, such as 000001 (default: all)"
    )
    return parser.parse_args(arguments)


def convert_frame(kitti: Path, stem: str, root: Path) -> None:
    """Write the image, point cloud and calibration of one frame.

    Args:
        kitti: Folder ``training`` or ``testing`` of KITTI.
        stem: Name of the frame, such as "000001".
        root: Folder of the new data set.

    Raises:
        FileNotFoundError: If a file of the frame is missing.
        ValueError: If a file is invalid.
    """
    images = files_by_stem(kitti / "image_2", layout.IMAGE_SUFFIXES)
    image = read_image(images.get(stem, kitti / "image_2" / f"{stem}.png"))
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    write_whole(_path(root, layout.IMAGES, stem), encoded.tobytes())

    # KITTI's axes are those of the layout (x forward, y left, z up): no rotation needed.
    points = read_cloud(kitti / "velodyne" / f"{stem}.bin")
    azimuth_deg = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    ahead = points[np.abs(azimuth_deg) < SECTOR_DEG]
    write_whole(_path(root, layout.CLOUDS, stem), ahead.tobytes())

    text = calibration_text(kitti / "calib" / f"{stem}.txt")
    write_whole(_path(root, layout.CALIBS, stem), text)


def calibration_text(path: Path) -> str:
    """Read a calibration of KITTI, and add Tr_velo_to_imu, the inverse of its Tr_imu_to_velo.

    Without Tr_imu_to_velo, which only poses need, the text stays as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a matrix is missing or invalid.
    """
    matrices = read_calibration_matrices(path, optional=("Tr_imu_to_velo",))
    text = read_text(path).strip()
    if "Tr_imu_to_velo" not in matrices:
        return f"{text}\n"
    imu_from_lidar = np.linalg.inv(matrices["Tr_imu_to_velo"])[:3]
    line = " ".join(f"{value:.12e}" for value in imu_from_lidar.flat)
    return f"{text}\nTr_velo_to_imu: {line}\n"


def main(arguments: argparse.Namespace) -> None:
    """Convert the frames.

    Raises:
        FileNotFoundError: If there is none.
    """
    stems = arguments.stems
    if stems is None:
        stems = sorted(files_by_stem(arguments.kitti / "velodyne", (".bin",)))
    for stem in tqdm(stems, unit="frame", delay=1):
        convert_frame(arguments.kitti, stem, arguments.out)
    print(f"{len(stems)} frames in {arguments.out}")


def _path(root: Path, folder: str, stem: str) -> Path:
    return root / layout.relative_path(folder, stem)


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
