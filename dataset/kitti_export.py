"""Writes a data set in the folders of KITTI's sequences, as the authors of UnScenes3D convert it.

    OUT/sequences/0000/velodyne/000000.bin    x, y, z, intensity, as in clouds/
    OUT/sequences/0000/image_2/000000.jpg     as in images/
    OUT/sequences/0000/calibs/000000.txt      as in calibs/
    OUT/sequences/0000/voxels/000000.npy      dense grid of labels: 0 free, 255 ignored
    OUT/sequences/0000/predictions/000000.npy the same of a network, where there are any
    OUT/sequences/0000/stems.txt              number and stem of each frame, one a line
    OUT/splits.json                           sequences of each split

A scene is a sequence; its labelled frames are numbered in the order of time. Numbers do not depend
on which split is written.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from dataset import layout
from dataset.formats import Scene, occupancy_from_rows, read_occupancy_rows
from dataset.inventory import complete_stems, require_files, time_order
from dataset.occupancy_files import dense_from_rows, is_sparse, read_labels, write_array
from dataset.splits import all_splits, load_scenes, split_frames
from utils.parallel import map_in_processes
from utils.shortlist import shortlist
from utils.whole_files import new_file, write_json, write_whole

SEQUENCES = "sequences"
VOXELS = "voxels"
PREDICTIONS = "predictions"
STEMS = "stems.txt"
COPIED = {layout.CLOUDS: "velodyne", layout.IMAGES: "image_2", layout.CALIBS: "calibs"}
"""Folders whose files are copied as they are, and their names in the export."""


@dataclass(frozen=True)
class Entry:
    """One frame of the export.

    Attributes:
        stem: Its name in the data set.
        sequence: Number of its scene, four digits.
        frame: Number of the frame in it, six digits.
    """

    stem: str
    sequence: str
    frame: str


@dataclass(frozen=True)
class ExportOptions:
    """What is written besides what the vehicle recorded.

    Attributes:
        dtype: Of the voxels: "uint8", or "float64" as the authors' converter writes them.
        labels: Whether to write the occupancy labels.
        predictions: Folder of ``STEM.npy``, dense or sparse; None for none.
    """

    dtype: str = "uint8"
    labels: bool = True
    predictions: Path | None = None


def plan_export(root: Path, split: str = "all", source: str = "auto") -> list[Entry]:
    """Number the labelled frames of a data set; without scenes every frame is of one sequence.

    Args:
        root: The data set.
        split: "train", "val", "test" or "all".
        source: How it is split (``dataset/splits.py``).

    Raises:
        ValueError: If the split is unknown or cannot be made.
        FileNotFoundError: If there are no frames.
    """
    scenes = load_scenes(root)
    entries = list(_numbered(_sequences(root, scenes)))
    if split == "all":
        return entries
    wanted = set(split_frames(root, split, source, scenes).stems)
    return [entry for entry in entries if entry.stem in wanted]


def export(
    root: Path,
    out: Path,
    entries: Sequence[Entry],
    options: ExportOptions,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Write frames; files that are there are replaced.

    Args:
        root: The data set.
        out: Where to.
        entries: Frames that ``plan_export`` gave.
        options: What is written of them.
        workers: Processes; None for one a core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If files of the frames are missing; counts and names them.
        ValueError: If a label or a prediction is not as its format says.
    """
    stems = [entry.stem for entry in entries]
    require_files(root, [*COPIED, layout.OCCUPANCY] if options.labels else COPIED, stems)
    if options.predictions is not None:
        folder = options.predictions
        missing = [stem for stem in stems if not (folder / f"{stem}.npy").is_file()]
        if missing:
            raise FileNotFoundError(
                f"'{folder}' lacks predictions of {len(missing)} of {len(stems)} frames: "
                f"{shortlist(missing)}. Predict them, or export the split that was predicted"
            )
    write = partial(write_frame, root, out, options)
    for _ in map_in_processes(write, entries, title="export", workers=workers, progress=progress):
        pass
    frames_of: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        frames_of[entry.sequence][entry.frame] = entry.stem
    for sequence, stem_of in frames_of.items():
        _name_frames(out / SEQUENCES / sequence / STEMS, stem_of)


def write_splits(root: Path, out: Path, source: str = "auto") -> None:
    """Write which sequences each split that has frames consists of.

    Args:
        root: The data set.
        out: Where it is exported to.
        source: How it is split (``dataset/splits.py``).

    Raises:
        ValueError: If it cannot be split so.
        FileNotFoundError: If there is nothing to split it by.
    """
    scenes = load_scenes(root)
    sequence_of = {entry.stem: entry.sequence for entry in _numbered(_sequences(root, scenes))}
    content = {
        split: sorted({sequence_of[stem] for stem in frames.stems if stem in sequence_of})
        for split, frames in all_splits(root, source, scenes).items()
    }
    write_json(content, out / "splits.json")


def write_frame(root: Path, out: Path, options: ExportOptions, entry: Entry) -> None:
    """Write the files of one frame."""
    sequence = out / SEQUENCES / entry.sequence
    for folder, name in COPIED.items():
        source = root / layout.relative_path(folder, entry.stem)
        with new_file(sequence / name / f"{entry.frame}{source.suffix}") as path:
            shutil.copyfile(source, path)
    if options.labels:
        rows = read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, entry.stem))
        grid = occupancy_from_rows(rows)
        _write_grid(sequence / VOXELS / f"{entry.frame}.npy", grid, options.dtype)
    if options.predictions is not None:
        grid = read_labels(options.predictions / f"{entry.stem}.npy")
        if is_sparse(grid):
            grid = dense_from_rows(grid, layout.LABEL_GRID.shape)
        _write_grid(sequence / PREDICTIONS / f"{entry.frame}.npy", grid, options.dtype)


def _sequences(root: Path, scenes: Mapping[str, Scene]) -> list[Sequence[str]]:
    """The frames of each sequence, in any order."""
    if scenes:
        return [scene.samples for scene in scenes.values()]
    return [complete_stems(root, COPIED)]


def _numbered(sequences: Sequence[Sequence[str]]) -> Iterator[Entry]:
    for number, stems in enumerate(sequences):
        for frame, stem in enumerate(sorted(stems, key=time_order)):
            yield Entry(stem, f"{number:04d}", f"{frame:06d}")


def _name_frames(path: Path, stem_of: Mapping[str, str]) -> None:
    """Write the stem of each frame of a sequence, those of an earlier export included."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = dict(line.split(" ", 1) for line in lines) | dict(stem_of)
    write_whole(path, "".join(f"{frame} {stem}\n" for frame, stem in sorted(named.items())))


def _write_grid(path: Path, grid: Integer[np.ndarray, "X Y Z"], dtype: str) -> None:
    write_array(path, grid.astype(dtype))
