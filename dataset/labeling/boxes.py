"""Boxes around objects: the class of the points in them, and whether they move.

``boxes.json`` lists the boxes of each frame in the frame of the recorded clouds:

    {"STEM": [{"class": "Car", "center": [x, y, z], "size": [length, width, height], "yaw": rad,
               "track": 7}]}

A track that moves marks its points as moving. Without tracks, free-space evidence does.
``label_2/STEM.txt`` is KITTI's format, in the rectified frame of the camera.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from dataset.calibration import split_projection
from dataset.formats import read_json, read_text
from dataset.labeling.drive import Drive
from dataset.labeling.mapping import DROP, UNKNOWN, ClassMapping

BOXES = "boxes.json"
KITTI_BOXES = "label_2"
_ENLARGED = 1.1
_MOVED_M = 1.0
"""A track that is ever this far from its first place moves."""
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


class BoxReader:
    """Classes of points in boxes.

    Args:
        drive: The drive.
        mapping: Classes of the boxes.

    Raises:
        ValueError: If a box is invalid.
    """

    def __init__(self, drive: Drive, mapping: ClassMapping) -> None:
        self._drive = drive
        self._mapping = mapping
        path = drive.root / BOXES
        self._path = path if path.is_file() else drive.root / KITTI_BOXES
        network = drive.clouds.rig.network_from_lidar
        self._boxes: dict[str, list[Box]] = {}
        if path.is_file():
            for stem, entries in read_json(path).items():
                self._boxes[stem] = [_box(path, stem, entry, network) for entry in entries]
        self._moving = self._moving_tracks()

    def classes(
        self, frame: int, points: Float32[np.ndarray, "P 3"]
    ) -> tuple[UInt8[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
        """Return the class of the points of a frame, 0 outside of boxes, and which move."""
        label = np.zeros(len(points), np.uint8)
        is_moving = np.zeros(len(points), bool)
        for box in self._of_frame(self._drive.stems[frame]):
            found = self._mapping.of_box(box.name, self._path)
            if found in (UNKNOWN, DROP):
                continue
            inside = box.contains(points)
            label[inside] = found
            is_moving |= inside & (box.track in self._moving)
        return label, is_moving

    def _of_frame(self, stem: str) -> list[Box]:
        if self._path.name == BOXES:
            return self._boxes.get(stem, [])
        path = self._path / f"{stem}.txt"
        projection = self._drive.pixel_from_lidar
        if not path.is_file() or projection is None:
            return []
        return read_kitti_boxes(path, projection)

    def _moving_tracks(self) -> set[int]:
        places = defaultdict(list)
        for stem, pose in zip(self._drive.stems, self._drive.world_from_lidar, strict=True):
            for box in self._boxes.get(stem, []):
                if box.track is not None:
                    places[box.track].append((pose @ box.lidar_from_box)[:3, 3])
        return {
            track
            for track, seen in places.items()
            if np.linalg.norm(np.array(seen) - seen[0], axis=1).max() > _MOVED_M
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
                f"{path}: expected lines of 15 words as in KITTI's label_2, found '{line[:60]}'"
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


def _box(path: Path, stem: str, entry: Any, network: Float64[np.ndarray, "4 4"]) -> Box:
    try:
        pose = np.eye(4)
        yaw = float(entry["yaw"])
        pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        pose[:3, 3] = np.array(entry["center"], np.float64).reshape(3)
        size = np.array(entry["size"], np.float64).reshape(3)
        track = entry.get("track")
        return Box(str(entry["class"]), network @ pose, size, None if track is None else int(track))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected {', '.join(sorted(_KEYS))} and optionally track for each box of "
            f"{stem}, found {str(entry)[:80]}"
        ) from error
