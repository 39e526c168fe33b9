"""Boxes around objects: the class of the points in them, and whether they move.

A track that moves marks its points as moving; without tracks, free-space evidence does. Annotators
often skip frames: a track has boxes between two of its frames, too.
"""

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from dataset.class_mapping import DROP, UNKNOWN, ClassMapping
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.inventory import time_order
from dataset.labeling.box_files import Box, read_box_list, read_kitti_boxes, read_tracklets
from dataset.labeling.drive import Drive
from dataset.recording import files_by_stem

BOX_LIST, TRACKLETS, KITTI_BOXES = "boxes.json", "tracklet_labels.xml", "label_2"
BOXES = (BOX_LIST, TRACKLETS, KITTI_BOXES)
"""Names of the sources; the first that exists is used."""
_MOVED_M = 1.0
"""A track that is ever this far from its first place moves."""
_GAP_S = 1.01
"""Longest time between two frames of a track that has boxes in between: 2 Hz, and one missing."""


@dataclass(frozen=True)
class _Place:
    """A track in one frame."""

    frame: int
    box: Box
    world_from_box: Float64[np.ndarray, "4 4"]


class BoxReader:
    """Classes of points in boxes.

    Args:
        drive: The drive.
        mapping: Classes of the boxes.

    Raises:
        ValueError: If a box is invalid.
    """

    def __init__(self, drive: Drive, mapping: ClassMapping) -> None:
        self._mapping = mapping
        self._path = next(drive.root / name for name in BOXES if (drive.root / name).exists())
        by_stem = _read(self._path, drive)
        self._boxes = [list(by_stem.get(stem, [])) for stem in drive.stems]
        self._moving = set()
        for track, places in _tracks(self._boxes, drive).items():
            centers = np.array([place.world_from_box[:3, 3] for place in places])
            if np.linalg.norm(centers - centers[0], axis=1).max() > _MOVED_M:
                self._moving.add(track)
            for frame, box in _between(places, drive):
                self._boxes[frame].append(box)

    def classes(
        self, frame: int, points: Float32[np.ndarray, "P 3"]
    ) -> tuple[UInt8[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
        """Return the class of the points of a frame, and which move.

        The class is ``UNKNOWN`` outside of boxes, and ``DROP`` for points to remove.
        """
        label = np.full(len(points), UNKNOWN, np.uint8)
        is_moving = np.zeros(len(points), bool)
        for box in self._boxes[frame]:
            found = self._mapping.of_box(box.name, self._path)
            inside = box.contains(points)
            if found != UNKNOWN:
                label[inside & (label != DROP)] = found
            is_moving |= inside & (box.track in self._moving)
        return label, is_moving


def _read(path: Path, drive: Drive) -> dict[str, list[Box]]:
    """Return the boxes of each stem."""
    network = drive.clouds.rig.network_from_lidar
    if path.name == BOX_LIST:
        return read_box_list(path, network)
    if path.name == TRACKLETS:
        clouds = files_by_stem(drive.root / "clouds", CLOUD_SUFFIXES)
        return read_tracklets(path, sorted(clouds, key=time_order), network)
    if drive.pixel_from_lidar is None:
        raise ValueError(
            f"{path}: expected images and their calibration beside it, as its boxes are in the "
            "frame of the camera, found none: add them, or remove the folder"
        )
    files = {stem: path / f"{stem}.txt" for stem in drive.stems}
    return {
        stem: read_kitti_boxes(file, drive.pixel_from_lidar)
        for stem, file in files.items()
        if file.is_file()
    }


def _tracks(boxes: list[list[Box]], drive: Drive) -> dict[int, list[_Place]]:
    """Return the places of each track in time order."""
    tracks = defaultdict(list)
    for frame, (of_frame, pose) in enumerate(zip(boxes, drive.world_from_lidar, strict=True)):
        for box in of_frame:
            if box.track is not None:
                tracks[box.track].append(_Place(frame, box, pose @ box.lidar_from_box))
    return tracks


def _between(places: list[_Place], drive: Drive) -> list[tuple[int, Box]]:
    """Return the boxes of a track in the frames between its own, with their frames."""
    found = []
    for before, after in itertools.pairwise(places):
        start, end = drive.times_s[before.frame], drive.times_s[after.frame]
        if end - start > _GAP_S:
            continue
        turned = before.world_from_box[:3, :3].T @ after.world_from_box[:3, :3]
        yaw = np.arctan2(turned[1, 0], turned[0, 0])
        way = after.world_from_box[:3, 3] - before.world_from_box[:3, 3]
        for frame in range(before.frame + 1, after.frame):
            share = (drive.times_s[frame] - start) / (end - start)
            cosine, sine = np.cos(share * yaw), np.sin(share * yaw)
            pose = before.world_from_box.copy()
            pose[:3, :3] = pose[:3, :3] @ [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]
            pose[:3, 3] += share * way
            lidar_from_world = np.linalg.inv(drive.world_from_lidar[frame])
            found.append((frame, replace(before.box, lidar_from_box=lidar_from_world @ pose)))
    return found
