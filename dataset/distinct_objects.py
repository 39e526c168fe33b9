"""Count the objects of a drive once each, however many of its frames show them.

Objects are told apart in the labels: the voxels of a class in all labeled frames of a drive, seen
from above in the frame of the first one. Parts that are close together are one object.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from dataset import layout
from dataset.formats import read_occupancy_rows
from dataset.poses import LidarPoses
from dataset.scene_files import Scene
from dataset.splits import frames_by_scene, scene_of_stem
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes

MIN_COLUMNS = 2
"""Minimum number of voxel columns of an object."""
GAP_COLUMNS = 4
"""Parts of a class with at most so many empty columns between them are one object."""

LabeledFrame = tuple[Integer[np.ndarray, "_ 4"], Float64[np.ndarray, "4 4"]]
"""Rows x_index, y_index, z_index, class of a frame, and its world_from_lidar."""


def count_distinct_objects(
    root: Path,
    stems: Sequence[str],
    scenes: Mapping[str, Scene],
    *,
    title: str,
    workers: int | None = None,
    progress: bool = True,
) -> Int64[np.ndarray, " C"]:
    """Count the objects of each long-tail class in a set of frames, each once per drive.

    Args:
        root: The data set.
        stems: The frames; each must have a label and a pose.
        scenes: The drives of the data set, as ``load_scenes`` returns them.
        title: Name of the progress bar.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If a label or a pose is missing.
        ValueError: If a frame is in no drive, or a file is invalid.
    """
    scene_of = scene_of_stem(scenes)
    without = [stem for stem in stems if stem not in scene_of]
    if without:
        raise ValueError(
            f"{root}: {len(without)} labeled frames are in no drive of {layout.IMAGESETS}/"
            f"{layout.SCENE_INFO}, such as {without[0]}; add them to count objects once per drive"
        )
    drives = frames_by_scene({stem: scene_of[stem] for stem in stems})
    count = partial(_count_drive, root, LidarPoses(root, "auto", drives))
    counted = map_in_processes(
        count, list(drives.items()), title=title, workers=workers, progress=progress
    )
    return sum(counted, np.zeros(UNSCENES3D.num_classes, np.int64))


def objects_of_drive(frames: Iterable[LabeledFrame]) -> Int64[np.ndarray, " C"]:
    """Count the objects of each long-tail class in the frames of a drive."""
    places = _columns_by_class(frames)
    counts = np.zeros(UNSCENES3D.num_classes, np.int64)
    for label, xy in places.items():
        counts[label] = _count_groups(_as_image(xy))
    return counts


def _columns_by_class(frames: Iterable[LabeledFrame]) -> dict[int, Int64[np.ndarray, "_ 2"]]:
    """Return the columns of each long-tail class, counted from the LiDAR of the first frame."""
    first_from_world = None
    found: dict[int, list[np.ndarray]] = {label: [] for label in UNSCENES3D.long_tail}
    for rows, world_from_lidar in frames:
        if first_from_world is None:
            first_from_world = np.linalg.inv(world_from_lidar)
        first_from_lidar = first_from_world @ world_from_lidar
        centers_m = layout.LABEL_GRID.meters_from_voxel(rows[:, :3] + 0.5)
        moved_m = centers_m @ first_from_lidar[:2, :3].T + first_from_lidar[:2, 3]
        columns = np.floor(moved_m / layout.LABEL_GRID.voxel_m).astype(np.int64)
        for label, parts in found.items():
            parts.append(columns[rows[:, 3] == label])
    return {label: np.concatenate(parts) for label, parts in found.items() if parts}


def _as_image(columns: Int64[np.ndarray, "N 2"]) -> Bool[np.ndarray, "X Y"]:
    """Return an image of columns, with a border so wide that dilation stays inside."""
    if not len(columns):
        return np.zeros((1, 1), bool)
    border = GAP_COLUMNS
    indices = columns - columns.min(axis=0) + border
    image = np.zeros(indices.max(axis=0) + 1 + border, bool)
    image[indices[:, 0], indices[:, 1]] = True
    return image


def _count_groups(columns: Bool[np.ndarray, "X Y"]) -> int:
    """Count groups of at least ``MIN_COLUMNS`` columns."""
    window = np.ones((GAP_COLUMNS + 1, GAP_COLUMNS + 1), np.uint8)
    grown = cv2.dilate(columns.astype(np.uint8), window)
    _, groups = cv2.connectedComponents(grown)
    sizes = np.bincount(groups[columns], minlength=1)
    return int((sizes[1:] >= MIN_COLUMNS).sum())


def _count_drive(
    root: Path, poses: LidarPoses, drive: tuple[str, Sequence[str]]
) -> Int64[np.ndarray, " C"]:
    scene, stems = drive
    return objects_of_drive(
        (
            read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, stem)),
            poses.world_from_lidar(stem, scene),
        )
        for stem in stems
    )
