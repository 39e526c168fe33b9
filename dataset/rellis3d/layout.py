"""The layout of RELLIS-3D: names of folders and files, and the frame of its point clouds."""

import re
from typing import NamedTuple

import numpy as np

SEQUENCES = ("00000", "00001", "00002", "00003", "00004")
"""Folders of the sequences."""
IMAGES = "pylon_camera_node"
IMAGE_LABELS = "pylon_camera_node_label_id"
CLOUDS = "os1_cloud_node_kitti_bin"
POINT_LABELS = "os1_cloud_node_semantickitti_label_id"
POSES = "poses.txt"
CAMERA_INFO = "camera_info.txt"
TRANSFORMS = "transforms.yaml"
CAMERA_TRANSFORM = "os1_cloud_node-pylon_camera_node"
"""Key of the camera's pose in ``TRANSFORMS``."""
RECORDED_SIZE = (1200, 1920)
"""Height and width of the images that ``CAMERA_INFO`` is for."""
PERIOD_S = 0.1
"""Time between two frames, for those whose image does not state it."""

INTENSITY_MAX = 1 / 64
"""The intensity in the files that becomes 1. They hold the sensor's number over 65,535, of which
1,024 is far above the usual: 753 is the largest of the published example."""
VEHICLE_M = 2.1
"""Points nearer than this, along the ground, are on the vehicle."""
LIDAR_HEIGHT_M = 1.2
"""Height of the Ouster above level ground, about."""

NETWORK_FROM_OUSTER = np.diag([-1.0, -1.0, 1.0, 1.0])
"""The files have x backward, y right, z up; the project has x forward, y left, z up."""

_STEM = re.compile(r"(\d{5})-(\d{6})")
_IMAGE = re.compile(r"frame(\d{6})-(\d+)_(\d{1,3})")


class Frame(NamedTuple):
    """A frame, in order of sequence and time.

    Attributes:
        sequence: One of SEQUENCES.
        number: Number of its image and cloud, and row of its pose, from 0.
    """

    sequence: str
    number: int

    @property
    def stem(self) -> str:
        """Name of the frame in this project, such as "00000-000104"."""
        return f"{self.sequence}-{self.number:06d}"


def frame_of(stem: str) -> Frame:
    """Return the frame of a stem.

    Raises:
        ValueError: If it is no stem of RELLIS-3D.
    """
    match = _STEM.fullmatch(stem)
    if match is None:
        raise ValueError(
            f"expected the stem of a frame of RELLIS-3D, such as '00000-000104', found '{stem}'"
        )
    return Frame(match[1], int(match[2]))


def parse_image(stem: str) -> tuple[int, float] | None:
    """Return number and time [s] from the stem of an image; None if it is none.

    Such as 104 and 1581624663.149 from "frame000104-1581624663_149": seconds and milliseconds,
    with or without leading zeros.
    """
    match = _IMAGE.fullmatch(stem)
    return None if match is None else (int(match[1]), int(match[2]) + int(match[3]) / 1000)
