"""Convert sequences of RELLIS-3D to recordings, from which labels can be made.

A recording has the frame, the units and the files of ``docs/own_data.md``: clouds without records
that hold no point and without the vehicle, their point labels, images, poses and calibration.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataset.calibration import split_projection
from dataset.recorded_poses import POSES, write_poses
from dataset.rellis3d import files, layout
from dataset.rellis3d.sequences import Sequence
from utils.whole_files import write_json, write_whole

logger = logging.getLogger(__name__)


def convertible(sequence: Sequence) -> list[int]:
    """Return the frames with a cloud, point labels, an image and a pose; warns of the others.

    Raises:
        FileNotFoundError: If there is none.
    """
    sides = {
        layout.CLOUDS: sequence.clouds,
        layout.POINT_LABELS: sequence.point_labels,
        layout.IMAGES: sequence.images.keys(),
        layout.POSES: {n for n in sequence.clouds if sequence.has_pose(n)},
    }
    every = set().union(*(sides[name] for name in (layout.CLOUDS, layout.IMAGES)))
    complete = sorted(every.intersection(*sides.values()))
    lacking = ", ".join(
        f"{len(every - set(numbers))} in {name}"
        for name, numbers in sides.items()
        if every - set(numbers)
    )
    if not complete:
        raise FileNotFoundError(
            f"'{sequence.root}': expected frames with a cloud, point labels, an image and a pose, "
            f"found none of {len(every)}; missing are {lacking or 'all'}"
        )
    if lacking:
        logger.warning(
            "%s: %d of %d frames are left out; missing are %s",
            sequence.root, len(every) - len(complete), len(every), lacking,
        )  # fmt: skip
    return complete


def convert(sequence: Sequence, folder: Path) -> Iterator[str]:
    """Write a recording, and yield the stem of each frame, its time [s].

    Images are links to those of the data set.

    Args:
        sequence: The sequence.
        folder: Folder of the recording.

    Raises:
        FileNotFoundError: If no frame is complete.
        ValueError: If a file is invalid.
    """
    numbers = convertible(sequence)
    pixel_from_cam, cam_from_lidar = split_projection(sequence.pixel_from_lidar)
    calibration = {
        "cameras": {
            layout.IMAGES: {
                "pixel_from_cam": pixel_from_cam[:, :3].tolist(),
                "cam_from_lidar": cam_from_lidar.tolist(),
            }
        },
        "lidar_height_m": layout.LIDAR_HEIGHT_M,
        "intensity_max": 1.0,
    }
    poses = {}
    for number in numbers:
        stem = f"{sequence.time_s(number):.3f}"
        poses[stem] = sequence.world_from_lidar(number)
        _write_frame(sequence, number, folder, stem)
        yield stem
    write_poses(folder / POSES, poses)
    write_json(calibration, folder / "calib.json")


def _write_frame(sequence: Sequence, number: int, folder: Path, stem: str) -> None:
    cloud = files.read_cloud(sequence.cloud_path(number), layout.INTENSITY_MAX)
    ids = files.read_point_labels(sequence.point_label_path(number), cloud)
    away = np.hypot(cloud.points[:, 0], cloud.points[:, 1]) >= layout.VEHICLE_M
    write_whole(folder / f"clouds/{stem}.bin", cloud.points[away].astype("<f4").tobytes())
    write_whole(folder / f"labels/{stem}.label", ids[away].astype("<u4").tobytes())
    image = sequence.image_path(number)
    link = folder / f"images/{stem}{image.suffix.lower()}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    os.symlink(image.resolve(), link)
