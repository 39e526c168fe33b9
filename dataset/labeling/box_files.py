"""Boxes in the formats of annotators: a list in JSON, KITTI's ``label_2`` and its tracklets.

``boxes.json`` lists the boxes of frames in the frame of the recorded clouds; not every frame needs
boxes:

    {"STEM": [{"class": "Car", "center": [x, y, z], "size": [length, width, height], "yaw": rad,
               "track": 7}]}

``label_2/STEM.txt`` has those of a frame in the rectified frame of the camera.
``tracklet_labels.xml`` has all tracks of a drive of KITTI's raw data, in the frame of the clouds;
frames are numbered from 0.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dataset.calibration import split_projection
from dataset.file_content import read_json, read_text

_ENLARGED = 1.1
_KEYS = {"class", "center", "size", "yaw"}


@dataclass(frozen=True)
class Box:
    """One object in one frame.

    Attributes:
        name: Its class in the source.
        lidar_from_box: Pose of its center, in the LiDAR frame of the network; x is its length.
        size_m: Length, width, height.
        track: Number of the object; None if unknown.
    """

    name: str
    lidar_from_box: Float64[np.ndarray, "4 4"]
    size_m: Float64[np.ndarray, "3"]
    track: int | None

    def contains(self, points: Float32[np.ndarray, "P 3"]) -> Bool[np.ndarray, " P"]:
        """Return the points in the box, which is enlarged by a tenth."""
        box_from_lidar = np.linalg.inv(self.lidar_from_box)
        local = points @ box_from_lidar[:3, :3].T + box_from_lidar[:3, 3]
        inside: Bool[np.ndarray, " P"] = (np.abs(local) <= self.size_m * _ENLARGED / 2).all(axis=1)
        return inside


def read_box_list(
    path: Path, network_from_lidar: Float64[np.ndarray, "4 4"]
) -> dict[str, list[Box]]:
    """Read ``boxes.json``: the boxes of each stem.

    Raises:
        ValueError: If the file or a box is invalid.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise ValueError(
            f"{path}: expected an object with a list of boxes per stem, found {str(content)[:60]}: "
            "see docs/own_data.md"
        )
    return {
        stem: [_listed_box(path, stem, entry, network_from_lidar) for entry in entries]
        for stem, entries in content.items()
    }


def read_kitti_boxes(path: Path, pixel_from_lidar: Float64[np.ndarray, "4 4"]) -> list[Box]:
    """Read KITTI's ``label_2``: class, …, height, width, length, bottom center x y z, rotation_y.

    Args:
        path: The file of a frame.
        pixel_from_lidar: Projection of the camera, which gives its pose.

    Raises:
        ValueError: If a line has too few numbers.
    """
    lidar_from_cam = np.linalg.inv(split_projection(pixel_from_lidar)[1])
    boxes = []
    for line in read_text(path).splitlines():
        words = line.split()
        if not words or words[0] == "DontCare":
            continue
        try:
            height, width, length, x, y, z, turn = (float(word) for word in words[8:15])
        except ValueError as error:
            raise ValueError(
                f"{path}: expected lines of 15 words as in KITTI's label_2, found '{line[:60]}': "
                "copy it again"
            ) from error
        # Camera: x right, y down, z ahead; the box's length points along its own x.
        cosine, sine = np.cos(turn), np.sin(turn)
        cam_from_box = np.eye(4)
        cam_from_box[:3, 0] = cosine, 0, -sine
        cam_from_box[:3, 1] = -sine, 0, -cosine
        cam_from_box[:3, 2] = 0, -1, 0
        cam_from_box[:3, 3] = x, y - height / 2, z
        size = np.array([length, width, height])
        boxes.append(Box(words[0], lidar_from_cam @ cam_from_box, size, None))
    return boxes


def read_tracklets(
    path: Path, stems: Sequence[str], network_from_lidar: Float64[np.ndarray, "4 4"]
) -> dict[str, list[Box]]:
    """Read KITTI's ``tracklet_labels.xml``: the boxes of each stem, numbered by their track.

    Args:
        path: The file.
        stems: Stems of all clouds of the drive, in time order.
        network_from_lidar: Transform from the frame of the clouds.

    Raises:
        ValueError: If the file is invalid, or has boxes in more frames than there are clouds.
    """
    try:
        tracklets = ElementTree.fromstring(path.read_bytes()).find("tracklets")
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: expected XML, found {error}: copy the file again") from error
    if tracklets is None:
        raise ValueError(
            f"{path}: expected <tracklets> as in KITTI's raw data, found none: copy the file again"
        )
    boxes: dict[str, list[Box]] = defaultdict(list)
    for track, item in enumerate(tracklets.findall("item")):
        name = (item.findtext("objectType") or "").strip()
        length, width, height = (_number(path, item, key) for key in ("l", "w", "h"))
        first = int(_number(path, item, "first_frame"))
        poses = item.findall("poses/item")
        if first + len(poses) > len(stems):
            raise ValueError(
                f"{path}: expected tracks in frames 0 to {len(stems) - 1}, as there are "
                f"{len(stems)} clouds, found '{name}' in frame {first + len(poses) - 1}: use all "
                "clouds of the drive"
            )
        size = np.array([length, width, height])
        for stem, pose in zip(stems[first:], poses, strict=False):
            x, y, z, yaw = (_number(path, pose, key) for key in ("tx", "ty", "tz", "rz"))
            lidar_from_box = _upright(np.array([x, y, z + height / 2]), yaw)  # z is the bottom's.
            boxes[stem].append(Box(name, network_from_lidar @ lidar_from_box, size, track))
    return dict(boxes)


def _listed_box(
    path: Path, stem: str, entry: Any, network_from_lidar: Float64[np.ndarray, "4 4"]
) -> Box:
    try:
        pose = _upright(np.array(entry["center"], np.float64).reshape(3), float(entry["yaw"]))
        size = np.array(entry["size"], np.float64).reshape(3)
        track = entry.get("track")
        track = None if track is None else int(track)
        return Box(str(entry["class"]), network_from_lidar @ pose, size, track)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected {', '.join(sorted(_KEYS))} and optionally track for each box of "
            f"{stem}, found {str(entry)[:80]}: see docs/own_data.md"
        ) from error


def _upright(center_m: Float64[np.ndarray, "3"], yaw: float) -> Float64[np.ndarray, "4 4"]:
    """Return the pose of a box that is turned about z only."""
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:3, 3] = center_m
    return pose


def _number(path: Path, element: ElementTree.Element, key: str) -> float:
    text = element.findtext(key)
    try:
        value = float(text or "")
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(
            f"{path}: expected a number as <{key}> of each item, found {text!r}: copy the file "
            "again"
        )
    return value
