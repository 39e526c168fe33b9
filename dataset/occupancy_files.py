"""Saved occupancy: one ``STEM.npy`` a frame, a dense grid of labels or rows of its voxels."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from dataset.transforms import coarsen_occupancy
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet
from utils.shortlist import shortlist
from utils.whole_files import write_whole

SUFFIX = ".npy"


@dataclass(frozen=True)
class GridForm:
    """How the rows of sparse files become a grid.

    Attributes:
        shape: Voxels along x, y, z of a frame that is sparse on both sides; None refuses it.
        free_label: Label of the voxels that no row names.
        target_rows: Labels of sparse ground truth that mean another label in a grid.
        coarsening: Label voxels to a predicted voxel along each axis; of several the majority of
            those neither free nor ignored counts. Labels must then have 0 free and 255 ignored.
    """

    shape: tuple[int, int, int] | None
    free_label: int = FREE
    target_rows: Mapping[int, int] = field(default_factory=dict)
    coarsening: int = 1


def match_stems(
    pred_dir: Path,
    gt_dir: Path,
    stems: Sequence[str] | None = None,
    *,
    suffixes: Sequence[str] = (SUFFIX,),
) -> list[str]:
    """The frames to score: the same ones on both sides, in order of their names.

    Args:
        pred_dir: Folder of predictions.
        gt_dir: Folder of labels.
        stems: Frames to score, when not all of both folders; files of others are not looked at.
        suffixes: How the names of the files end.

    Raises:
        FileNotFoundError: If a folder is missing or a frame has a file on one side only.
        ValueError: If there is no frame, or ``stems`` names one twice.
    """
    predicted, labelled = _stems_in(pred_dir, suffixes), _stems_in(gt_dir, suffixes)
    if stems is not None:
        wanted = set(stems)
        if len(wanted) < len(stems):
            twice = sorted({stem for stem in wanted if list(stems).count(stem) > 1})
            raise ValueError(f"the list of frames names {shortlist(twice, most=5)} more than once")
        _refuse_absent(wanted - labelled, "a label", gt_dir)
        _refuse_absent(wanted - predicted, "a prediction", pred_dir)
        predicted = labelled = wanted
    _refuse_absent(labelled - predicted, "a prediction", pred_dir)
    _refuse_absent(predicted - labelled, "a label", gt_dir)
    if not labelled:
        files = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise ValueError(f"no frame to score: no {files} in {gt_dir} and {pred_dir}")
    return sorted(labelled)


def read_array(path: Path) -> np.ndarray:
    """Read a file of one array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no array.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes what it does not know for a pickle, and advises to run its code.
        reason = "it is another file" if "pickle" in str(error) else error
        raise ValueError(f"{path}: cannot be read as a {SUFFIX} array ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one {SUFFIX} array, got an archive of several")
    return array


def read_labels(path: Path) -> Integer[np.ndarray, "..."]:
    """Read a file of labels, dense (X, Y, Z) or sparse (N, 4).

    Floating point is accepted where every value is a whole number.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no array of whole numbers in one of the two shapes.
    """
    array = read_array(path)
    if array.ndim != 3 and not is_sparse(array):
        raise ValueError(
            f"{path}: expected a dense grid (X, Y, Z) or sparse rows (N, 4) of x, y, z, class; "
            f"got shape {array.shape}"
        )
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.rint(array))
        if not whole.all():
            raise ValueError(
                f"{path}: labels must be whole numbers, got {array[~whole].flat[0]} ({array.dtype})"
            )
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{path}: labels must be integers, got {array.dtype}")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def is_sparse(array: np.ndarray) -> bool:
    """Whether an array holds rows x, y, z, class rather than a grid."""
    return array.ndim == 2 and array.shape[1] == 4


def dense_from_rows(
    rows: Integer[np.ndarray, "N 4"],
    shape: tuple[int, int, int],
    *,
    free_label: int = FREE,
    relabel: Mapping[int, int] | None = None,
) -> Integer[np.ndarray, "X Y Z"]:
    """Put rows into a grid; where two rows name the same voxel the later one holds.

    Args:
        rows: Indices x, y, z and class of each voxel that is not free; any order.
        shape: Voxels along x, y, z.
        free_label: Label of the voxels that no row names.
        relabel: Classes of rows that mean another label in a grid.

    Raises:
        ValueError: If an index is off the grid.
    """
    index, label = rows[:, :3], rows[:, 3].astype(np.int32)
    off_grid = ((index < 0) | (index >= np.asarray(shape))).any(axis=1)
    if off_grid.any():
        raise ValueError(
            f"{int(off_grid.sum())} rows lie off the {_times(shape)} grid, the first is "
            f"{rows[off_grid][0].tolist()}; both sides must be of the same grid "
            "(--coarsen K: labels to larger voxels)"
        )
    for row_label, grid_label in (relabel or {}).items():
        label = np.where(rows[:, 3] == row_label, grid_label, label)
    grid = np.full(shape, free_label, dtype=np.int32)
    grid[tuple(index.astype(np.int64).T)] = label
    return grid


def check_labels(occupancy: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid, labels: LabelSet) -> None:
    """Refuse labels of another grid or label set.

    Raises:
        ValueError: If the shape is not the grid's, or a label is no class and not 255.
    """
    if occupancy.shape != grid.shape:
        raise ValueError(
            f"labels of shape {occupancy.shape} do not fill the grid of {grid.shape} voxels; "
            "choose the config of their grid"
        )
    strays = np.unique(occupancy[(occupancy >= labels.num_classes) & (occupancy != IGNORE)])
    if len(strays):
        raise ValueError(
            f"labels {strays.tolist()} are none of the {labels.num_classes} classes of "
            f"{labels.name} and not {IGNORE} (ignored); choose another label set"
        )


def read_pair(
    pred_path: Path, gt_path: Path, form: GridForm
) -> tuple[Integer[np.ndarray, "X Y Z"], Integer[np.ndarray, "X Y Z"]]:
    """Read the prediction and the label of a frame as grids.

    A sparse side takes the shape of the dense one; two sparse sides take ``form.shape``, that of
    the labels before they are coarsened.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is broken, the shapes differ, or no shape is known.
    """
    pred, target = read_labels(pred_path), read_labels(gt_path)
    factor, shape = form.coarsening, form.shape
    if not is_sparse(pred):
        x, y, z = (n * factor for n in pred.shape)
        shape = (x, y, z)
    elif not is_sparse(target):
        shape = target.shape
    if shape is None:
        raise ValueError(
            f"{pred_path} and {gt_path} are both sparse: say how many voxels the grid has "
            "(--grid X Y Z), for the free voxels count too"
        )
    labels = _as_grid(target, gt_path, shape, form.free_label, form.target_rows)
    if factor > 1:
        try:
            labels = coarsen_occupancy(_as_bytes(labels), factor)
        except ValueError as error:
            raise ValueError(f"{gt_path}: {error}") from error
    return _as_grid(pred, pred_path, labels.shape, form.free_label, {}), labels


def write_prediction(folder: Path, stem: str, occupancy: UInt8[np.ndarray, "X Y Z"]) -> Path:
    """Write ``STEM.npy``, a dense grid of labels."""
    path = folder / f"{stem}{SUFFIX}"
    write_array(path, occupancy)
    return path


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array of numbers as ``.npy``."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_whole(path, content.getvalue())


def write_archive(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as a compressed ``.npz``."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def _stems_in(folder: Path, suffixes: Sequence[str]) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    files = (path for path in folder.iterdir() if path.suffix in suffixes)
    return {path.stem for path in files if not path.name.startswith(".")}


def _refuse_absent(stems: set[str], what: str, folder: Path) -> None:
    if stems:
        raise FileNotFoundError(
            f"{len(stems)} frames lack {what} in {folder}: "
            f"{shortlist(sorted(stems), most=5)}; complete the folder, or name the frames to score "
            "(--stems FILE)"
        )


def _as_grid(
    array: Integer[np.ndarray, "..."],
    path: Path,
    shape: tuple[int, ...],
    free_label: int,
    relabel: Mapping[int, int],
) -> Integer[np.ndarray, "X Y Z"]:
    """A file's array as a grid of the given shape."""
    if is_sparse(array):
        try:
            x, y, z = shape
            return dense_from_rows(array, (x, y, z), free_label=free_label, relabel=relabel)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if array.shape != shape:
        raise ValueError(
            f"{path}: expected a grid of {_times(shape)} voxels as on the other side, got "
            f"{_times(array.shape)}"
        )
    return array


def _as_bytes(labels: Integer[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "X Y Z"]:
    """Labels as bytes, none of which becomes another one."""
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high > IGNORE:
        raise ValueError(f"the label holds labels from {low} to {high}, outside 0–{IGNORE}")
    return labels.astype(np.uint8)


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
