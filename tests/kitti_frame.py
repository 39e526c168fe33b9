"""Turns a frame of KITTI's object data set, recorded on a road, into the UnScenes3D layout."""

import os
from pathlib import Path

import cv2
import numpy as np

from dataset import layout

VARIABLE = "UNSOCC_REAL_DATA"
"""Environment variable with a folder of recorded data; ``kitti_object/`` in it is used here."""
DEFAULT = Path(__file__).parents[2] / "shared/data/real"
SECTOR_DEG = 60.0
"""Points farther than this to the left or right of straight ahead are left out."""


def find_kitti() -> Path | None:
    """Folder ``kitti_object/training`` of the recorded data, or None where there is none."""
    folder = Path(os.environ.get(VARIABLE, DEFAULT)) / "kitti_object/training"
    return folder if folder.is_dir() else None


def convert_kitti(kitti: Path, stem: str, root: Path) -> None:
    """Write one frame below ``root``: image, cloud and calibration, without labels.

    KITTI's LiDAR frame (x forward, y left, z up) and its calibration text are those of the layout;
    only Tr_velo_to_imu is missing, for KITTI gives its inverse.

    Args:
        kitti: The folder ``training`` of the data set.
        stem: Name of the frame, such as "000001".
        root: Folder of the new data set.
    """
    paths = {
        folder: root / layout.relative_path(folder, stem)
        for folder in (layout.IMAGES, layout.CLOUDS, layout.CALIBS)
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)

    image = cv2.imread(str(kitti / "image_2" / f"{stem}.png"))
    cv2.imwrite(str(paths[layout.IMAGES]), image, [cv2.IMWRITE_JPEG_QUALITY, 95])

    points = np.fromfile(kitti / "velodyne" / f"{stem}.bin", np.float32).reshape(-1, 4)
    azimuth_deg = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    points[np.abs(azimuth_deg) < SECTOR_DEG].tofile(paths[layout.CLOUDS])

    text = (kitti / "calib" / f"{stem}.txt").read_text(encoding="utf-8").strip()
    rows = dict(line.split(":", 1) for line in text.splitlines())
    lidar_from_imu = np.eye(4)
    lidar_from_imu[:3] = np.array(rows["Tr_imu_to_velo"].split(), float).reshape(3, 4)
    imu_from_lidar = " ".join(f"{value:.12e}" for value in np.linalg.inv(lidar_from_imu)[:3].flat)
    calibration = f"{text}\nTr_velo_to_imu: {imu_from_lidar}\n"
    paths[layout.CALIBS].write_text(calibration, encoding="utf-8")
