"""Labels of the points of a cloud: files with a number per point, and the classes that they are."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from dataset.class_mapping import ClassMapping
from utils.shortlist import shortlist

Source = TypeVar("Source")

logger = logging.getLogger(__name__)

SEMANTIC_KITTI = "<u4"
"""Type of a number in a file of SemanticKITTI: the class in the lower 16 bits."""


class PointLabels(NamedTuple):
    """What is known of the points of a cloud.

    Attributes:
        classes: Label of each point; ``UNKNOWN`` and ``DROP`` besides.
        is_moving: Points on things that move.
    """

    classes: UInt8[np.ndarray, " P"]
    is_moving: Bool[np.ndarray, " P"]

    def of(self, points: Integer[np.ndarray, " Q"] | Bool[np.ndarray, " P"]) -> "PointLabels":
        """Return the labels of some points, by index or by mask."""
        return PointLabels(self.classes[points], self.is_moving[points])


def read_point_classes(
    path: Path, points: int, mapping: ClassMapping, dtype: str = SEMANTIC_KITTI
) -> PointLabels:
    """Read the classes of the points of a cloud.

    Args:
        path: The file.
        points: Number of points of the cloud.
        mapping: The class of each number.
        dtype: As in ``read_point_labels``.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it has another number of points, or a number that the mapping lacks.
    """
    return PointLabels(*mapping.of_points(read_point_labels(path, points, dtype), path))


def read_point_labels(
    path: Path, points: int, dtype: str = SEMANTIC_KITTI
) -> Int64[np.ndarray, " P"]:
    """Read the number of each point's class.

    Args:
        path: The file.
        points: Number of points of the cloud.
        dtype: Type of a number in the file.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it has another number of points.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: each cloud needs its point labels, or remove the folder"
        )
    number, data = np.dtype(dtype), path.read_bytes()
    if len(data) != number.itemsize * points:
        raise ValueError(
            f"{path}: expected a {number.name} for each of the {points} points of the cloud, found "
            f"{len(data)} bytes: copy it again"
        )
    return np.frombuffer(data, number).astype(np.int64) & 0xFFFF


def labeled_sources(
    sources: Sequence[Sequence[Source]], path_of: Callable[[Source], Path]
) -> frozenset[Source]:
    """Return the sources of frames that have point labels.

    Args:
        sources: For each frame, itself and the other frames that supervise it.
        path_of: Returns the path of the point labels of a source.

    Raises:
        FileNotFoundError: If a frame itself has none; counts and lists them.
    """
    distinct = dict.fromkeys(source for nearby in sources for source in nearby)
    labeled = frozenset(source for source in distinct if path_of(source).is_file())
    needed = [nearby[0] for nearby in sources]
    lacking = [str(path_of(source)) for source in needed if source not in labeled]
    if lacking:
        raise FileNotFoundError(
            f"{len(lacking)} of {len(needed)} files of point labels are missing: "
            f"{shortlist(lacking)}. Add them, or set model.loss.label_free.point_labels to "
            "None to train without classes"
        )
    logger.info("point labels of %d of the %d frames that supervise", len(labeled), len(distinct))
    return labeled


def check_own_files(paths: Sequence[Path], option: str) -> None:
    """Check that no two frames share a file of masks or point labels.

    Args:
        paths: File of each frame.
        option: The key of ``model.loss.label_free`` that names their folder.

    Raises:
        ValueError: If two frames do, as with an absolute path to the folder of one drive.
    """
    shared = [str(path) for path, count in Counter(paths).items() if count > 1]
    if shared:
        raise ValueError(
            f"{len(shared)} files belong to several frames each, such as {min(shared)}: "
            f"model.loss.label_free.{option} must name a folder in each drive, not a path to one"
        )
