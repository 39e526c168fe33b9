"""Occupancy files: one ``STEM.npy`` per frame, a dense label grid or sparse rows of voxels."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from dataset.inventory import require_file
from dataset.transforms import coarsen_occupancy
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet
from utils.shortlist import shortlist
from utils.whole_files import write_whole

SUFFIX = ".npy"


@dataclass(frozen=True)
class GridForm:
    """How to convert the rows of sparse files to a grid.

    Attributes:
        shape: Voxels along x, y, z if prediction and label are both sparse; None rejects this.
        free_label: Label of voxels without a row.
        target_rows: Mapping from labels of sparse ground truth to labels in a grid.
        coarsening: Label voxels per predicted voxel along each axis. The majority of those
            neither free nor ignored counts; labels must then use 0 for free, 255 for ignored.
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
    """Return the frames to score, sorted by name: those with a prediction and a label.

    Args:
        pred_dir: Folder of predictions.
        gt_dir: Folder of labels.
        stems: Frames to score; other files are ignored. None for all frames.
        suffixes: File suffixes.

    Raises:
        FileNotFoundError: If a folder, a prediction or a label is missing.
        ValueError: If there is no frame, or ``stems`` has duplicates.
    """
    predicted, labeled = _stems_in(pred_dir, suffixes), _stems_in(gt_dir, suffixes)
    if stems is not None:
        wanted = set(stems)
        if len(wanted) < len(stems):
            repeated = sorted({stem for stem in wanted if list(stems).count(stem) > 1})
            raise ValueError(f"duplicate frames in the list: {shortlist(repeated, most=5)}")
        _reject_missing(wanted - labeled, "a label", gt_dir)
        _reject_missing(wanted - predicted, "a prediction", pred_dir)
        predicted = labeled = wanted
    _reject_missing(labeled - predicted, "a prediction", pred_dir)
    _reject_missing(predicted - labeled, "a label", gt_dir)
    if not labeled:
        files = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise ValueError(f"no frame to score: no {files} in {gt_dir} and {pred_dir}")
    return sorted(labeled)


def read_array(path: Path) -> np.ndarray:
    """Read a file with one array.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it does not hold one array.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes any unknown format for a pickle, and suggests loading it, which runs code.
        reason = "unknown format" if "pickle" in str(error) else error
        raise ValueError(f"{path}: not a valid {SUFFIX} array ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one {SUFFIX} array, got an archive")
    return array


def read_labels(path: Path) -> Integer[np.ndarray, "..."]:
    """Read a label file, dense (X, Y, Z) or sparse (N, 4).

    Floating point is accepted if every value is a whole number.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not an array of whole numbers in one of the two shapes.
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
    """Return whether an array holds rows of x, y, z, class, not a grid."""
    return array.ndim == 2 and array.shape[1] == 4


def dense_from_rows(
    rows: Integer[np.ndarray, "N 4"],
    shape: tuple[int, int, int],
    *,
    free_label: int = FREE,
    relabel: Mapping[int, int] | None = None,
) -> Integer[np.ndarray, "X Y Z"]:
    """Convert rows to a dense grid; if several rows name the same voxel, the last one wins.

    Args:
        rows: Indices x, y, z and class of each voxel that is not free, in any order.
        shape: Voxels along x, y, z.
        free_label: Label of voxels without a row.
        relabel: Mapping from classes in rows to labels in the grid.

    Raises:
        ValueError: If an index is outside the grid.
    """
    index, label = rows[:, :3], rows[:, 3].astype(np.int32)
    off_grid = ((index < 0) | (index >= np.asarray(shape))).any(axis=1)
    if off_grid.any():
        raise ValueError(
            f"{int(off_grid.sum())} rows lie outside the {_shape_text(shape)} grid, the first is "
            f"{rows[off_grid][0].tolist()}; both files must use the same grid "
            "(--coarsen K: labels to larger voxels)"
        )
    for row_label, grid_label in (relabel or {}).items():
        label = np.where(rows[:, 3] == row_label, grid_label, label)
    grid = np.full(shape, free_label, dtype=np.int32)
    grid[tuple(index.astype(np.int64).T)] = label
    return grid


def check_labels(occupancy: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid, labels: LabelSet) -> None:
    """Reject labels of another grid or label set.

    Raises:
        ValueError: If the shape is not the grid's, or a label is neither a class nor 255.
    """
    if occupancy.shape != grid.shape:
        raise ValueError(
            f"labels of shape {occupancy.shape} do not fill the grid of {grid.shape} voxels; "
            "choose a config with their grid"
        )
    unknown = np.unique(occupancy[(occupancy >= labels.num_classes) & (occupancy != IGNORE)])
    if len(unknown):
        raise ValueError(
            f"labels {unknown.tolist()} are neither one of the {labels.num_classes} classes of "
            f"{labels.name} nor {IGNORE} (ignored); choose another label set"
        )


def read_pair(
    pred_path: Path, gt_path: Path, form: GridForm
) -> tuple[Integer[np.ndarray, "X Y Z"], Integer[np.ndarray, "X Y Z"]]:
    """Read the prediction and the label of a frame as grids.

    A sparse file takes its shape from the dense one; two sparse files take ``form.shape``, the
    shape of the labels before coarsening.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is invalid, the shapes differ, or the shape is unknown.
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
            f"{pred_path} and {gt_path} are both sparse: give the shape of the grid "
            "(--grid X Y Z), because free voxels count too"
        )
    labels = _as_grid(target, gt_path, shape, form.free_label, form.target_rows)
    if factor > 1:
        try:
            labels = coarsen_occupancy(_as_bytes(labels), factor)
        except ValueError as error:
            raise ValueError(f"{gt_path}: {error}") from error
    return _as_grid(pred, pred_path, labels.shape, form.free_label, {}), labels


def write_prediction(folder: Path, stem: str, occupancy: UInt8[np.ndarray, "X Y Z"]) -> Path:
    """Write ``STEM.npy``, a dense label grid."""
    path = folder / f"{stem}{SUFFIX}"
    write_array(path, occupancy)
    return path


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a numeric array as ``.npy``."""
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
        raise FileNotFoundError(f"folder {folder} not found")
    files = (path for path in folder.iterdir() if path.suffix in suffixes)
    return {require_file(path).stem for path in files if not path.name.startswith(".")}


def _reject_missing(stems: set[str], what: str, folder: Path) -> None:
    if stems:
        raise FileNotFoundError(
            f"{len(stems)} frames lack {what} in {folder}: "
            f"{shortlist(sorted(stems), most=5)}; add the files, or list the frames to score "
            "(--stems FILE)"
        )


def _as_grid(
    array: Integer[np.ndarray, "..."],
    path: Path,
    shape: tuple[int, ...],
    free_label: int,
    relabel: Mapping[int, int],
) -> Integer[np.ndarray, "X Y Z"]:
    """Convert the array of a file to a grid of the given shape."""
    if is_sparse(array):
        try:
            x, y, z = shape
            return dense_from_rows(array, (x, y, z), free_label=free_label, relabel=relabel)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if array.shape != shape:
        raise ValueError(
            f"{path}: expected a grid of {_shape_text(shape)} voxels as in the other file, got "
            f"{_shape_text(array.shape)}"
        )
    return array


def _as_bytes(labels: Integer[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "X Y Z"]:
    """Convert labels to bytes without wrapping around."""
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high > IGNORE:
        raise ValueError(f"expected labels in 0–{IGNORE}, got {low} to {high}")
    return labels.astype(np.uint8)


def _shape_text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
