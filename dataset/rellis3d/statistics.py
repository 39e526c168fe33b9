"""Count the voxels of each class in the occupancy labels of RELLIS-3D, by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from dataset.rellis3d import classes, splits
from dataset.rellis3d.labels import LabelFiles, find_label_files, read_rows
from dataset.rellis3d.layout import Frame
from dataset.rellis3d.sequences import all_frames, find_sequences
from dataset.splits import SPLITS
from utils.labels import FREE, IGNORE, RELLIS3D, LabelSet
from utils.parallel import map_in_processes


@dataclass(frozen=True)
class VoxelCounts:
    """Voxels of each class over a set of frames; free is not counted.

    Attributes:
        labels: The label set.
        frames: Number of labeled frames.
        voxels: Voxels by class.
        frames_with: Number of frames in which each class occurs.
        ignored: Voxels without a class.
    """

    labels: LabelSet
    frames: int
    voxels: Int64[np.ndarray, " C"]
    frames_with: Int64[np.ndarray, " C"]
    ignored: int

    @property
    def counts(self) -> Int64[np.ndarray, " C"]:
        """Voxels by class."""
        return self.voxels

    @property
    def shares(self) -> Float64[np.ndarray, " C"]:
        """Share of each class in the voxels with a class."""
        return self.voxels / max(1, int(self.voxels.sum()))

    def to_json(self) -> dict[str, Any]:
        """Return the counts by class name."""
        names = self.labels.class_names
        return {
            "frames": self.frames,
            "voxels": dict(zip(names[1:], self.voxels[1:].tolist(), strict=True)),
            "frames_with": dict(zip(names[1:], self.frames_with[1:].tolist(), strict=True)),
            "shares": dict(zip(names[1:], self.shares[1:].tolist(), strict=True)),
            "ignored": self.ignored,
        }

    def rows(self) -> list[str]:
        """Format the counts, one class per line, with the published shares of the points."""
        lines = [
            f"{'class':<18}{'voxels':>13}{'share':>11}{'of points':>12}{'in frames':>11}",
        ]
        for label, name in enumerate(self.labels.class_names):
            if label == FREE:
                continue
            share = classes.POINT_SHARES.get(name)
            published = "-" if share is None else f"{100 * share:.3f} %"
            lines.append(
                f"{name:<18}{self.voxels[label]:>13,}{100 * self.shares[label]:>9.4f} %"
                f"{published:>12}{100 * self.frames_with[label] / max(1, self.frames):>9.1f} %"
            )
        return [*lines, f"{'(ignored)':<18}{self.ignored:>13,}"]


def count_splits(
    root: Path, source: str, labels: LabelSet = RELLIS3D, *, workers: int | None = None
) -> dict[str, VoxelCounts]:
    """Count the labels of each split that has labeled frames, in ``wildocc`` beside the data set.

    Args:
        root: The data set.
        source: One of ``splits.SOURCES``.
        labels: The label set.
        workers: Number of processes; None for one per core.

    Raises:
        FileNotFoundError: If there are no sequences, lists or labels.
        ValueError: If a list or a label is invalid.
    """
    sequences = find_sequences(root)
    images = {
        path.stem: Frame(name, number)
        for name, sequence in sequences.items()
        for number, path in sequence.images.items()
    }
    paths = find_label_files(LabelFiles().root(root), images)
    frames = all_frames(sequences.values())
    found = {}
    for split in SPLITS:
        held = any(frame.sequence in splits.SEQUENCE_SPLIT[split] for frame in frames)
        if not (root / f"pt_{split}.lst").is_file() if source == splits.LISTS else not held:
            continue
        chosen = splits.split_frames(root, split, source, frames, is_whole=False)
        labeled = [paths[frame] for frame in chosen if frame in paths]
        if labeled:
            found[split] = _count(labeled, labels, split, workers)
    if not found:
        raise FileNotFoundError(f"'{root}': no frame of a split ({source}) has an occupancy label")
    return found


def _count(paths: Sequence[Path], labels: LabelSet, split: str, workers: int | None) -> VoxelCounts:
    function = partial(_count_frame, labels)
    title = f"count {split}"
    counts = np.stack(list(map_in_processes(function, paths, title=title, workers=workers)))
    voxels = counts[:, : labels.num_classes]
    return VoxelCounts(
        labels,
        len(paths),
        voxels.sum(axis=0),
        (voxels > 0).sum(axis=0),
        int(counts[:, IGNORE].sum()),
    )


def _count_frame(labels: LabelSet, path: Path) -> Int64[np.ndarray, "256"]:
    """Count the rows of a label file by label."""
    ids, counts = np.unique(read_rows(path)[:, 3], return_counts=True)
    unknown = sorted(set(ids.tolist()) - classes.RELLIS_IDS.keys())
    if unknown:
        raise ValueError(f"{path}: expected the ids of RELLIS-3D, found {unknown}")
    found = np.zeros(256, np.int64)
    np.add.at(found, classes.label_table(classes.RELLIS_IDS, labels)[ids], counts)
    return found
