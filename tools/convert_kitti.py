"""Convert frames of KITTI's object data set to the UnScenes3D layout, for prediction.

    python tools/convert_kitti.py --kitti kitti_object/training --out data/kitti --stems 000001

An example to adapt to your own recordings; docs/custom_data.md explains it step by step. Writes
images/, clouds/ and calibs/ in the units and at the LiDAR height of that layout; KITTI has no
occupancy labels.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from dataset import layout
from dataset.cloud_rule import KITTI_CLOUD, UNSCENES3D_CLOUD
from dataset.formats import read_calibration_matrices, read_cloud, read_image
from dataset.recording import files_by_stem
from dataset.transforms import transform_cloud
from utils.console import run_script, start_logging
from utils.outputs import output_folder
from utils.whole_files import write_whole

SECTOR_DEG = 60.0
"""Points farther than this off the forward axis are dropped: the networks were trained with a LiDAR
that sees no farther."""
LIDAR_HEIGHT_M = 1.73
"""Height of KITTI's LiDAR above the ground."""
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
    parser.add_argument(
        "--lidar-height",
        type=float,
        default=LIDAR_HEIGHT_M,
        metavar="M",
        help="height of the LiDAR above the ground [m] (default: %(default)s, as on KITTI's car)",
    )
    return parser.parse_args(arguments)


def convert_frame(kitti: Path, stem: str, root: Path, lidar_height_m: float) -> None:
    """Write the image, point cloud and calibration of one frame.

    Args:
        kitti: Folder ``training`` or ``testing`` of KITTI.
        stem: Name of the frame, such as "000001".
        root: Folder of the new data set.
        lidar_height_m: Height of the LiDAR above the ground.

    Raises:
        FileNotFoundError: If a file of the frame is missing.
        ValueError: If a file is invalid.
    """
    images = files_by_stem(kitti / "image_2", layout.IMAGE_SUFFIXES)
    image = read_image(images.get(stem, kitti / "image_2" / f"{stem}.png"))
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    write_whole(_path(root, layout.IMAGES, stem), encoded.tobytes())

    # The networks were trained with a higher LiDAR, whose origin is lower in its own frame.
    new_from_lidar = np.eye(4)
    new_from_lidar[2, 3] = lidar_height_m - layout.LIDAR_HEIGHT_M

    # KITTI's axes are those of the layout (x forward, y left, z up): no rotation needed.
    points = transform_cloud(
        new_from_lidar, read_cloud(kitti / "velodyne" / f"{stem}.bin", KITTI_CLOUD)
    )
    points[:, 3] *= UNSCENES3D_CLOUD.intensity_max
    azimuth_deg = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    ahead = points[np.abs(azimuth_deg) < SECTOR_DEG]
    write_whole(_path(root, layout.CLOUDS, stem), ahead.tobytes())

    text = calibration_text(kitti / "calib" / f"{stem}.txt", new_from_lidar)
    write_whole(_path(root, layout.CALIBS, stem), text)


def calibration_text(path: Path, new_from_lidar: Float64[np.ndarray, "4 4"]) -> str:
    """Format the calibration of a KITTI file for points that were moved.

    Tr_velo_to_imu, the inverse of KITTI's Tr_imu_to_velo, is left out if that is missing: only
    poses need it.

    Args:
        path: The file.
        new_from_lidar: How the points were moved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a matrix is missing or invalid.
    """
    read = read_calibration_matrices(path, optional=("Tr_imu_to_velo",))
    lidar_from_new = np.linalg.inv(new_from_lidar)
    matrices = {
        "P2": read["P2"][:3],
        "R0_rect": read["R0_rect"][:3, :3],
        "Tr_velo_to_cam": (read["Tr_velo_to_cam"] @ lidar_from_new)[:3],
    }
    if "Tr_imu_to_velo" in read:
        imu_from_lidar = np.linalg.inv(read["Tr_imu_to_velo"])
        matrices["Tr_velo_to_imu"] = (imu_from_lidar @ lidar_from_new)[:3]
    lines = [
        f"{key}: " + " ".join(f"{value:.12e}" for value in matrix.flat)
        for key, matrix in matrices.items()
    ]
    return "\n".join(lines) + "\n"


def main(arguments: argparse.Namespace) -> None:
    """Convert the frames.

    Raises:
        FileNotFoundError: If there is none.
    """
    stems = arguments.stems
    if stems is None:
        stems = sorted(files_by_stem(arguments.kitti / "velodyne", (".bin",)))
    for stem in tqdm(stems, unit="frame", delay=1):
        convert_frame(arguments.kitti, stem, arguments.out, arguments.lidar_height)
    print(f"{len(stems)} frames in {arguments.out}")


def _path(root: Path, folder: str, stem: str) -> Path:
    return root / layout.relative_path(folder, stem)


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
