"""How often each class occurs in the occupancy labels of a split, and how far away.

The counts of a split are kept beside the data, in ``statistics/SPLIT.json``, and counted again when
a label of the split has changed.
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
"""Share of the labelled voxels of UnScenes3D, as its authors published it."""

BIN_M = 10.0
"""Width of the distance bins, along the ground from the LiDAR [m]."""
NUM_BINS = 9
"""The far corners of the grid are 86 m away."""
CACHE = "statistics"
"""Folder for the counts, below the data set's root."""

_VERSION = 1
"""Of what is counted; raise it whenever that changes."""
_OBJECTS = UNSCENES3D.long_tail
_MIN_COLUMNS = 2
"""An object stands on at least this many columns of voxels."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Counts over some frames; the first class is the background, which is ignored in training.

    Attributes:
        frames: Number of frames.
        voxels: Labelled voxels of each class, by distance; their sum over the bins is the count.
        frames_with: Frames in which each class occurs.
        objects: Objects of each class of the long tail, by distance: what is connected when seen
            from above. Two that touch count as one, one seen in parts as several.
    """

    frames: int
    voxels: Int64[np.ndarray, "C bins"]
    frames_with: Int64[np.ndarray, " C"]
    objects: Int64[np.ndarray, "C bins"]

    def __add__(self, other: "Statistics") -> "Statistics":
        """The counts over the frames of both."""
        return Statistics(
            self.frames + other.frames,
            self.voxels + other.voxels,
            self.frames_with + other.frames_with,
            self.objects + other.objects,
        )

    @property
    def counts(self) -> Int64[np.ndarray, " C"]:
        """Labelled voxels of each class; of the first one, background."""
        return self.voxels.sum(axis=1)

    @property
    def shares(self) -> Float64[np.ndarray, " C"]:
        """Share of the labelled voxels that each class has; 0 of the background."""
        counts = np.append(0, self.counts[1:])
        return counts / max(1, counts.sum())

    def to_json(self) -> dict[str, Any]:
        """The counts in plain values."""
        return {
            "frames": self.frames,
            "voxels": self.voxels.tolist(),
            "frames_with": self.frames_with.tolist(),
            "objects": self.objects.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Statistics":
        """The counts that ``to_json`` gave.

        Raises:
            ValueError: If they are not of that form.
        """
        arrays = {key: np.array(content[key], np.int64) for key in _SHAPES}
        if {key: array.shape for key, array in arrays.items()} != _SHAPES:
            raise ValueError(f"expected counts of the shapes {_SHAPES}")
        return cls(frames=int(content["frames"]), **arrays)


_SHAPES: dict[str, tuple[int, ...]] = {
    "voxels": (UNSCENES3D.num_classes, NUM_BINS),
    "frames_with": (UNSCENES3D.num_classes,),
    "objects": (UNSCENES3D.num_classes, NUM_BINS),
}


def empty_statistics() -> Statistics:
    """The counts over no frame."""
    return Statistics(frames=0, **{key: np.zeros(size, np.int64) for key, size in _SHAPES.items()})


def split_statistics(
    root: Path,
    stems: Sequence[str],
    split: str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Statistics:
    """Count the labels of a split, or take the counts that are kept beside the data.

    Args:
        root: The data set.
        stems: Frames of the split; each has an occupancy label.
        split: Its name, for the file of the counts.
        workers: Processes; None for one a core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If a label is missing.
        ValueError: If a label is not as its format says.
    """
    path = root / CACHE / f"{split}.json"
    fingerprint = fingerprint_of(root, stems)
    kept = _read_kept(path, fingerprint)
    if kept is not None:
        return kept
    counted = map_in_processes(
        partial(_count, root), stems, title=f"count {split}", workers=workers, progress=progress
    )
    total = sum(counted, empty_statistics())
    try:
        write_json({"fingerprint": fingerprint} | total.to_json(), path)
    except OSError as error:
        _logger.warning("the counts are not kept for the next time: %s", error)
    return total


def fingerprint_of(root: Path, stems: Sequence[str]) -> str:
    """A text that changes when a label of these frames is replaced, or the frames are others.

    Raises:
        FileNotFoundError: If a label is missing.
    """
    digest = hashlib.sha256(f"version {_VERSION}\n".encode())
    for stem in stems:
        found = (root / layout.relative_path(layout.OCCUPANCY, stem)).stat()
        digest.update(f"{stem} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def frame_statistics(rows: Integer[np.ndarray, "N 4"]) -> Statistics:
    """The counts of one frame.

    Args:
        rows: x_index, y_index, z_index, class of the voxels that are not free.
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
    """The columns of the label grid that hold a voxel of a class."""
    columns = np.zeros(layout.LABEL_GRID.shape[:2], bool)
    x, y = rows[rows[:, 3] == label, :2].T
    columns[x, y] = True
    return columns


def object_centers(columns: Bool[np.ndarray, "X Y"]) -> Float64[np.ndarray, "objects 2"]:
    """Middle of each group of columns that touch, corners included, in voxels."""
    _, _, stats, centers = cv2.connectedComponentsWithStats(columns.astype(np.uint8))
    is_object = stats[1:, cv2.CC_STAT_AREA] >= _MIN_COLUMNS  # The first is what is not set.
    return centers[1:][is_object][:, ::-1].copy()


def _distance_bins(columns: Float64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """Bin of the distance from the LiDAR, along the ground, of columns of the grid."""
    grid = layout.LABEL_GRID
    metres = (columns + 0.5) * grid.voxel_m + np.array(grid.origin_m[:2])
    return (np.linalg.norm(metres, axis=1) // BIN_M).astype(np.int64)


def _count(root: Path, stem: str) -> Statistics:
    return frame_statistics(
        read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, stem))
    )


def _read_kept(path: Path, fingerprint: str) -> Statistics | None:
    """The counts that were kept; None where there are none, others, or a damaged file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] == fingerprint:
            return Statistics.from_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("%s cannot be used, the labels are counted again: %s", path, error)
    return None
