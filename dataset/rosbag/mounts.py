"""The cameras of a bag and their poses, from the bag itself or from a calibration file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataset.file_content import read_json
from dataset.rosbag.bag import Bag
from dataset.rosbag.camera import Camera, read_camera
from dataset.rosbag.matching import Frame, stamps_of
from dataset.rosbag.survey import ConversionOptions, Survey, info_topic

SAME_PLACE_M = 0.01
SAME_ANGLE_DEG = 0.2
"""A camera that moves less than both, relative to the LiDAR, is fixed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mount:
    """A camera and where it is.

    Attributes:
        camera: The camera.
        cam_from_lidar: Its pose.
    """

    camera: Camera
    cam_from_lidar: Float64[np.ndarray, "4 4"]


def find_mounts(
    bag: Bag, found: Survey, options: ConversionOptions, frames: Sequence[Frame]
) -> dict[str, Mount]:
    """Return the cameras, from the calibration file or from the bag.

    Raises:
        ValueError: If a calibration is missing or cannot be used.
    """
    stated = {} if options.calibration is None else read_json(options.calibration)
    cameras = stated.get("cameras", {})
    if stated and options.images and set(cameras) != set(options.images):
        raise ValueError(
            f"{options.calibration}: expected the cameras {sorted(options.images)}, found "
            f"{sorted(cameras)}. Name the topics as the file does: --images NAME=TOPIC"
        )
    mounts = {}
    for name, topic in options.images.items():
        info = info_topic(bag, options, name)
        given = cameras.get(name)
        matrix = None if given is None else np.array(given["pixel_from_cam"], np.float64)
        if info is not None:
            is_rectified = "rect" in topic.removesuffix("/compressed").rpartition("/")[2]
            where = f"{bag.name}, '{info}'"
            camera = read_camera(found.infos[info], where, is_rectified=is_rectified, stated=matrix)
        elif matrix is not None:
            camera = Camera(None, matrix, None)
            logger.warning(
                "'%s' has no CameraInfo: its images are taken to be undistorted, with the camera "
                "matrix of %s",
                topic,
                options.calibration,
            )
        else:
            known = ", ".join(bag.named("camera info")) or "none"
            raise ValueError(
                f"{bag.name}: expected a CameraInfo beside '{topic}', found none. Topics with "
                f"camera info: {known}. State one with --camera-info, or the file of --calib"
            )
        if given is not None:
            pose = np.array(given["cam_from_lidar"], np.float64)
        else:
            pose = _cam_from_lidar(bag, found, options, topic, frames)
        mounts[name] = Mount(camera, pose)
    return mounts


def _cam_from_lidar(
    bag: Bag, found: Survey, options: ConversionOptions, topic: str, frames: Sequence[Frame]
) -> Float64[np.ndarray, "4 4"]:
    cam, lidar = found.frames[topic], found.frames[options.clouds]
    matrices, known = found.tree.at(cam, lidar, stamps_of(frames))
    if not known.any():
        raise ValueError(
            f"{bag.name}: expected the transform from '{lidar}' to '{cam}' at the time of a frame, "
            "found it at other times only. State it with --calib"
        )
    matrices = matrices[known]
    relative = np.linalg.inv(matrices[0]) @ matrices
    moved_m = float(np.linalg.norm(relative[:, :3, 3], axis=1).max())
    cosine = (np.trace(relative[:, :3, :3], axis1=1, axis2=2).min() - 1) / 2
    turned_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if moved_m > SAME_PLACE_M or turned_deg > SAME_ANGLE_DEG:
        logger.warning(
            "the transform from '%s' to '%s' changes by up to %.3f m and %.2f° during the bag: the "
            "first one is used for all frames",
            lidar,
            cam,
            moved_m,
            turned_deg,
        )
    return matrices[0]
