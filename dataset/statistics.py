"""Count the voxels and objects of each class in the occupancy labels of a split, by distance.

The counts of a split are cached next to the data, in ``statistics/SPLIT.json``, and recomputed when
a label of the split changes.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from dataset import layout
from dataset.formats import read_occupancy_rows
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes
from utils.whole_files import write_json

PUBLISHED_SHARES = {
    "driveable_surface": 0.6791,
    "terrain": 0.2943,
    "truck": 0.0085,
    "barrier": 0.0080,
    "traffic_cone": 0.0042,
    "machinery": 0.0015,
    "widebody": 0.0014,
    "excavator": 0.0014,
    "muddy": 0.0013,
    "car": 0.0002,
    "pedestrian": 0.000012,
}
"""Share of the labeled voxels of UnScenes3D, as published by its authors."""

BIN_M = 10.0
"""Width of the bins of ground distance from the LiDAR [m]."""
NUM_BINS = 9
"""The far corners of the grid are 86 m away."""
CACHE = "statistics"
"""Folder of the counts, below the data set's root."""

_VERSION = 1
"""Version of the counts; increment it whenever their definition changes."""
_OBJECTS = UNSCENES3D.long_tail
_MIN_COLUMNS = 2
"""Minimum number of voxel columns of an object."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Counts over a set of frames; the first class is the background, which training ignores.

    Attributes:
        frames: Number of frames.
        voxels: Labeled voxels of each class and distance bin.
        frames_with: Number of frames in which each class occurs.
        objects: Objects of each long-tail class and distance bin. An object is a connected
            component seen from above: two that touch count as one, and one in parts as several.
    """

    frames: int
    voxels: Int64[np.ndarray, "C bins"]
    frames_with: Int64[np.ndarray, " C"]
    objects: Int64[np.ndarray, "C bins"]

    def __add__(self, other: "Statistics") -> "Statistics":
        """Return the counts over the frames of both."""
        return Statistics(
            self.frames + other.frames,
            self.voxels + other.voxels,
            self.frames_with + other.frames_with,
            self.objects + other.objects,
        )

    @property
    def counts(self) -> Int64[np.ndarray, " C"]:
        """Labeled voxels of each class; the first class is background."""
        return self.voxels.sum(axis=1)

    @property
    def shares(self) -> Float64[np.ndarray, " C"]:
        """Share of each class in the labeled voxels; 0 for the background."""
        counts = np.append(0, self.counts[1:])
        return counts / max(1, counts.sum())

    def to_json(self) -> dict[str, Any]:
        """Convert the counts to plain values."""
        return {
            "frames": self.frames,
            "voxels": self.voxels.tolist(),
            "frames_with": self.frames_with.tolist(),
            "objects": self.objects.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Statistics":
        """Restore counts from ``to_json``.

        Raises:
            ValueError: If the shapes are wrong.
        """
        arrays = {key: np.array(content[key], np.int64) for key in _SHAPES}
        if {key: array.shape for key, array in arrays.items()} != _SHAPES:
            raise ValueError(f"expected counts with the shapes {_SHAPES}")
        return cls(frames=int(content["frames"]), **arrays)


_SHAPES: dict[str, tuple[int, ...]] = {
    "voxels": (UNSCENES3D.num_classes, NUM_BINS),
    "frames_with": (UNSCENES3D.num_classes,),
    "objects": (UNSCENES3D.num_classes, NUM_BINS),
}


def empty_statistics() -> Statistics:
    """Return the counts over zero frames."""
    return Statistics(frames=0, **{key: np.zeros(size, np.int64) for key, size in _SHAPES.items()})


def split_statistics(
    root: Path,
    stems: Sequence[str],
    split: str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Statistics:
    """Count the labels of a split, or read the cached counts.

    Args:
        root: The data set.
        stems: Frames of the split; each must have an occupancy label.
        split: Name of the split, for the cache file.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If a label is missing.
        ValueError: If a label is invalid.
    """
    path = root / CACHE / f"{split}.json"
    fingerprint = fingerprint_of(root, stems)
    cached = _read_cached(path, fingerprint)
    if cached is not None:
        return cached
    counted = map_in_processes(
        partial(_count, root), stems, title=f"count {split}", workers=workers, progress=progress
    )
    total = sum(counted, empty_statistics())
    try:
        write_json({"fingerprint": fingerprint} | total.to_json(), path)
    except OSError as error:
        _logger.warning("the counts could not be cached: %s", error)
    return total


def fingerprint_of(root: Path, stems: Sequence[str]) -> str:
    """Return a hash that changes when a label of these frames or the list of frames changes.

    Raises:
        FileNotFoundError: If a label is missing.
    """
    digest = hashlib.sha256(f"version {_VERSION}\n".encode())
    for stem in stems:
        found = (root / layout.relative_path(layout.OCCUPANCY, stem)).stat()
        digest.update(f"{stem} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def frame_statistics(rows: Integer[np.ndarray, "N 4"]) -> Statistics:
    """Count one frame.

    Args:
        rows: x_index, y_index, z_index, class of each voxel that is not free.
    """
    distance = _distance_bins(rows[:, :2].astype(np.float64))
    voxels = np.zeros(_SHAPES["voxels"], np.int64)
    np.add.at(voxels, (rows[:, 3], distance), 1)
    objects = np.zeros(_SHAPES["objects"], np.int64)
    for label in _OBJECTS:
        centers = object_centers(columns_of(rows, label))
        np.add.at(objects[label], _distance_bins(centers), 1)
    return Statistics(1, voxels, (voxels.sum(axis=1) > 0).astype(np.int64), objects)


def columns_of(rows: Integer[np.ndarray, "N 4"], label: int) -> Bool[np.ndarray, "X Y"]:
    """Return which columns of the label grid have a voxel of a class."""
    columns = np.zeros(layout.LABEL_GRID.shape[:2], bool)
    x, y = rows[rows[:, 3] == label, :2].T
    columns[x, y] = True
    return columns


def object_centers(columns: Bool[np.ndarray, "X Y"]) -> Float64[np.ndarray, "objects 2"]:
    """Return the center of each 8-connected group of columns, in voxels."""
    _, _, stats, centers = cv2.connectedComponentsWithStats(columns.astype(np.uint8))
    is_object = stats[1:, cv2.CC_STAT_AREA] >= _MIN_COLUMNS  # Component 0 is the unset columns.
    return centers[1:][is_object][:, ::-1].copy()


def _distance_bins(columns: Float64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """Return the bin of the ground distance from the LiDAR for columns of the grid."""
    grid = layout.LABEL_GRID
    xy_m = (columns + 0.5) * grid.voxel_m + np.array(grid.origin_m[:2])
    return (np.linalg.norm(xy_m, axis=1) // BIN_M).astype(np.int64)


def _count(root: Path, stem: str) -> Statistics:
    return frame_statistics(
        read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, stem))
    )


def _read_cached(path: Path, fingerprint: str) -> Statistics | None:
    """Return the cached counts; None if they are missing, outdated or corrupt."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] == fingerprint:
            return Statistics.from_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("%s cannot be read, so the labels are counted again: %s", path, error)
    return None
