"""Count the labeled voxels of each class in each frame of a split.

The counts are cached next to the data, in ``statistics/SPLIT_frames.json``, and recomputed when a
label of the split changes.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dataset import layout
from dataset.formats import read_occupancy_rows
from dataset.statistics import CACHE, fingerprint_of
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes
from utils.whole_files import write_json

_logger = logging.getLogger(__name__)


def frame_class_counts(
    root: Path,
    stems: Sequence[str],
    split: str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Int64[np.ndarray, "F C"]:
    """Count the voxels of each class in each frame, or read the cached counts.

    Args:
        root: The data set, in the UnScenes3D layout.
        stems: Frames of the split; each must have an occupancy label.
        split: Name of the split, for the cache file.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Returns:
        Voxels by frame and class; the first class is the background.

    Raises:
        FileNotFoundError: If a label is missing.
        ValueError: If a label is invalid.
    """
    path = root / CACHE / f"{split}_frames.json"
    fingerprint = fingerprint_of(root, stems)
    shape = (len(stems), UNSCENES3D.num_classes)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] == fingerprint:
            return np.array(content["voxels"], np.int64).reshape(shape)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("%s cannot be read, so the labels are counted again: %s", path, error)
    counted = map_in_processes(
        partial(_count, root), stems, title=f"count {split}", workers=workers, progress=progress
    )
    counts = np.array(list(counted), np.int64).reshape(shape)
    try:
        write_json({"fingerprint": fingerprint, "voxels": counts.tolist()}, path)
    except OSError as error:
        _logger.warning("the counts could not be cached: %s", error)
    return counts


def _count(root: Path, stem: str) -> list[int]:
    rows = read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, stem))
    counts: list[int] = np.bincount(rows[:, 3], minlength=UNSCENES3D.num_classes).tolist()
    return counts
