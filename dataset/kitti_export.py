"""Export a data set as KITTI sequences, the way the authors of UnScenes3D convert theirs.

    OUT/sequences/0000/velodyne/000000.bin    as in clouds/: the intensity is 0–255
    OUT/sequences/0000/image_2/000000.jpg     as in images/
    OUT/sequences/0000/calibs/000000.txt      as in calibs/
    OUT/sequences/0000/voxels/000000.npy      dense grid of labels: 0 free, 255 ignored
    OUT/sequences/0000/predictions/000000.npy the same for predictions, if any
    OUT/sequences/0000/stems.txt              number and stem of each frame, one per line
    OUT/splits.json                           sequences of each split

Each scene becomes a sequence; its labeled frames are numbered in time order. The numbers do not
depend on which split is written.
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
from dataset.formats import occupancy_from_rows, read_occupancy_rows
from dataset.inventory import complete_stems, path_of, require_files, time_order
from dataset.occupancy_files import dense_from_rows, is_sparse, read_labels, write_array
from dataset.scene_files import Scene
from dataset.splits import all_splits, load_scenes, split_frames
from utils.parallel import map_in_processes
from utils.shortlist import shortlist
from utils.whole_files import new_file, write_json, write_whole

SEQUENCES = "sequences"
VOXELS = "voxels"
PREDICTIONS = "predictions"
STEMS = "stems.txt"
COPIED = {layout.CLOUDS: "velodyne", layout.IMAGES: "image_2", layout.CALIBS: "calibs"}
"""Folders whose files are copied unchanged, and their names in the export."""


@dataclass(frozen=True)
class Entry:
    """One frame of the export.

    Attributes:
        stem: Stem in the data set.
        sequence: Number of its scene, with four digits.
        frame: Number of the frame in the sequence, with six digits.
    """

    stem: str
    sequence: str
    frame: str


@dataclass(frozen=True)
class ExportOptions:
    """What to write besides the sensor data.

    Attributes:
        dtype: Data type of the voxels: "uint8", or "float64" as in the authors' converter.
        labels: Whether to write the occupancy labels.
        predictions: Folder of ``STEM.npy``, dense or sparse; None to write no predictions.
    """

    dtype: str = "uint8"
    labels: bool = True
    predictions: Path | None = None


def plan_export(root: Path, split: str = "all", source: str = "auto") -> list[Entry]:
    """Number the labeled frames of a data set; without scenes, all frames form one sequence.

    Args:
        root: The data set.
        split: "train", "val", "test" or "all".
        source: Split source (``dataset/splits.py``).

    Raises:
        ValueError: If the split is unknown or invalid.
        FileNotFoundError: If there are no frames.
    """
    scenes = load_scenes(root)
    entries = list(_number_frames(_sequences(root, scenes)))
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
    """Write frames, replacing existing files.

    Args:
        root: The data set.
        out: Folder to write to.
        entries: Frames from ``plan_export``.
        options: What to write.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If files are missing; counts and lists them.
        ValueError: If a label or prediction is invalid.
    """
    stems = [entry.stem for entry in entries]
    require_files(root, [*COPIED, layout.OCCUPANCY] if options.labels else COPIED, stems)
    if options.predictions is not None:
        folder = options.predictions
        missing = [stem for stem in stems if not (folder / f"{stem}.npy").is_file()]
        if missing:
            raise FileNotFoundError(
                f"'{folder}' lacks predictions of {len(missing)} of {len(stems)} frames: "
                f"{shortlist(missing)}. Predict them, or export only the predicted split"
            )
    write = partial(write_frame, root, out, options)
    for _ in map_in_processes(write, entries, title="export", workers=workers, progress=progress):
        pass
    frames_of: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        frames_of[entry.sequence][entry.frame] = entry.stem
    for sequence, stem_of in frames_of.items():
        _write_stems(out / SEQUENCES / sequence / STEMS, stem_of)


def write_splits(root: Path, out: Path, source: str = "auto") -> None:
    """Write the sequences of each split that has frames.

    Args:
        root: The data set.
        out: Folder of the export.
        source: Split source (``dataset/splits.py``).

    Raises:
        ValueError: If the data set cannot be split by this source.
        FileNotFoundError: If there are neither lists nor scenes.
    """
    scenes = load_scenes(root)
    sequence_of = {entry.stem: entry.sequence for entry in _number_frames(_sequences(root, scenes))}
    content = {
        split: sorted({sequence_of[stem] for stem in frames.stems if stem in sequence_of})
        for split, frames in all_splits(root, source, scenes).items()
    }
    write_json(content, out / "splits.json")


def write_frame(root: Path, out: Path, options: ExportOptions, entry: Entry) -> None:
    """Write the files of one frame."""
    sequence = out / SEQUENCES / entry.sequence
    for folder, name in COPIED.items():
        source = path_of(root, folder, entry.stem)
        with new_file(sequence / name / f"{entry.frame}{source.suffix.lower()}") as path:
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
    """Return the frames of each sequence, in any order."""
    if scenes:
        return [scene.samples for scene in scenes.values()]
    return [complete_stems(root, COPIED)]


def _number_frames(sequences: Sequence[Sequence[str]]) -> Iterator[Entry]:
    for number, stems in enumerate(sequences):
        for frame, stem in enumerate(sorted(stems, key=time_order)):
            yield Entry(stem, f"{number:04d}", f"{frame:06d}")


def _write_stems(path: Path, stem_of: Mapping[str, str]) -> None:
    """Write the stem of each frame of a sequence, keeping those of an earlier export."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    stem_by_frame = dict(line.split(" ", 1) for line in lines) | dict(stem_of)
    write_whole(path, "".join(f"{frame} {stem}\n" for frame, stem in sorted(stem_by_frame.items())))


def _write_grid(path: Path, grid: Integer[np.ndarray, "X Y Z"], dtype: str) -> None:
    write_array(path, grid.astype(dtype))
