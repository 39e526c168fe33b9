"""Occupancy labels of WildOcc: their files, their grid and frame, and how they become ours.

There are two releases. Neither states the frame of its grid or the ids of its classes, so a config
states them, and ``dataset/rellis3d/agreement.py`` compares that with point labels:

| release | grid | range [m] | frame |
| --- | --- | --- | --- |
| V1, 2024 | 100×100×40 of 0.2 m | x −20–0, y −10–10, z −2–6 | the Ouster's: x backward, y right |
| V2.0, 2025 | 160×160×40 of 0.2 m | x 0–32, y −16–16, z −2–6 | not stated; likely x forward |
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Integer, UInt8

from dataset import occupancy_files
from dataset.rellis3d import classes
from dataset.rellis3d.layout import NETWORK_FROM_OUSTER, Frame, parse_image
from utils.geometry import VoxelGrid
from utils.labels import LabelSet
from utils.shortlist import shortlist

AXES = {
    "ouster": (1.0, 1.0),
    "forward": (-1.0, -1.0),
    "mirrored_x": (-1.0, 1.0),
    "mirrored_y": (1.0, -1.0),
}
"""Axes of label grids: factors on x (backward) and y (right) of the Ouster's frame."""
RELEASES = {
    "V1": VoxelGrid((-20.0, -10.0, -2.0), 0.2, (100, 100, 40)),
    "V2.0": VoxelGrid((0.0, -16.0, -2.0), 0.2, (160, 160, 40)),
}
"""Grids of the releases, in the frame of their files."""
FOLDER = "wildocc"
"""Usual folder of the labels, beside the data set."""

_SEQUENCE = re.compile(r"(?<!\d)0000[0-4](?!\d)")
_NUMBER = re.compile(r"(?<!\d)(\d{6})(?!\d)")


@dataclass(frozen=True)
class LabelForm:
    """How to read label files.

    Attributes:
        grid: Grid of the files, in their own frame.
        axes: Axes of that frame, one of AXES.
        ids: What its class ids mean, one of ``classes.IDS``.
        more_ids: Further ids, each with the name of a class of RELLIS-3D or "void".

    Raises:
        ValueError: If axes or ids are unknown.
    """

    grid: VoxelGrid
    axes: str = "ouster"
    ids: str = "rellis"
    more_ids: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.axes not in AXES:
            raise ValueError(f"labels_axes must be one of {sorted(AXES)}, got '{self.axes}'")
        classes.names_of(self.ids, self.more_ids)

    @property
    def release(self) -> str:
        """Name of the release with this grid."""
        return next((n for n, grid in RELEASES.items() if grid == self.grid), "an unknown release")

    def label_from_lidar(self) -> Float64[np.ndarray, "4 4"]:
        """Return the transform from the network's frame to that of the files."""
        return np.diag([*AXES[self.axes], 1.0, 1.0]) @ np.linalg.inv(NETWORK_FROM_OUSTER)

    def grid_in_lidar(self) -> VoxelGrid:
        """Return the grid in the network's frame."""
        lidar_from_label = np.linalg.inv(self.label_from_lidar())
        corners = np.array([[*self.grid.origin_m, 1.0], [*self.grid.end_m, 1.0]])
        # Adding 0 turns −0 to 0.
        x, y, z = (corners @ lidar_from_label.T)[:, :3].min(axis=0).round(9) + 0.0
        return VoxelGrid((float(x), float(y), float(z)), self.grid.voxel_m, self.grid.shape)


@dataclass(frozen=True)
class LabelFiles:
    """Where label files are and how to read them: keys of a config's ``dataset`` section.

    Attributes:
        labels_root: Folder of the labels; None for ``FOLDER`` beside the data set.
        labels_grid: Grid of the files, in their own frame, or its fields.
        labels_axes: Axes of that frame, one of AXES.
        labels_ids: What their class ids mean, one of ``classes.IDS``.
        labels_more_ids: Further ids, each with the name of a class of RELLIS-3D or "void".
    """

    labels_root: str | Path | None = None
    labels_grid: VoxelGrid | dict[str, Any] = RELEASES["V1"]
    labels_axes: str = "ouster"
    labels_ids: str = "rellis"
    labels_more_ids: Sequence[tuple[int, str]] = ()

    def form(self) -> LabelForm:
        """Return how to read the files.

        Raises:
            ValueError: If the grid, axes or ids are invalid.
        """
        more = tuple((number, name) for number, name in self.labels_more_ids)
        grid = VoxelGrid.from_config(self.labels_grid)
        return LabelForm(grid, self.labels_axes, self.labels_ids, more)

    def root(self, data_root: Path) -> Path:
        """Return the folder of the labels of a data set."""
        beside = data_root.absolute().parent / FOLDER
        return beside if self.labels_root is None else Path(self.labels_root)


def read_rows(path: Path) -> Integer[np.ndarray, "N 4"]:
    """Read the rows x, y, z, class of a label file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it does not hold such rows.
    """
    rows = occupancy_files.read_labels(path)
    if not occupancy_files.is_sparse(rows):
        raise ValueError(
            f"{path}: expected rows of x, y, z, class, found shape {rows.shape}: use the labels "
            "as released by WildOcc"
        )
    return rows


def read_labels(path: Path, form: LabelForm, labels: LabelSet) -> UInt8[np.ndarray, "X Y Z"]:
    """Read a label file as a grid in its own frame; voxels without a row are free.

    Args:
        path: The file.
        form: How to read it.
        labels: The label set of the result; see ``dataset/rellis3d/classes.py``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is invalid, of another grid, or has unknown classes.
    """
    rows = read_rows(path)
    outside = ((rows[:, :3] < 0) | (rows[:, :3] >= np.array(form.grid.shape))).any(axis=1)
    if outside.any():
        largest = rows[:, :3].max(axis=0)
        fits = [name for name, grid in RELEASES.items() if (largest < np.array(grid.shape)).all()]
        shape = "×".join(map(str, form.grid.shape))
        raise ValueError(
            f"{path}: expected indices in the {shape} voxels of {form.release}, found "
            f"{outside.sum()} rows outside, up to {largest.tolist()}. They fit "
            f"{' and '.join(fits) or 'no known release'}: set dataset.labels_grid"
        )
    table = classes.label_table(classes.names_of(form.ids, form.more_ids), labels)
    names = classes.names_of(form.ids, form.more_ids)
    unknown = sorted(set(np.unique(rows[:, 3]).tolist()) - names.keys())
    if unknown:
        raise ValueError(
            f"{path}: expected the ids {sorted(names)} ('{form.ids}'), found {unknown} in "
            f"{np.isin(rows[:, 3], unknown).sum()} rows. Name them in dataset.labels_more_ids, or "
            "correct dataset.labels_ids"
        )
    grid = np.zeros(form.grid.shape, np.uint8)
    grid[tuple(rows[:, :3].astype(np.int64).T)] = table[rows[:, 3]]
    return grid


def find_label_files(root: Path, frame_of_image: Mapping[str, Frame]) -> dict[Frame, Path]:
    """Find the label file of each frame; the layout of the archives is not documented.

    A file is assigned by the stem of its image, or by the name of a sequence in its path and the
    six digits of a frame in its name.

    Args:
        root: Folder of the labels, at any depth.
        frame_of_image: Frame of each image, by stem.

    Raises:
        FileNotFoundError: If there is no label file.
        ValueError: If a file has no frame, or a frame has two files.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"there are no labels at '{root}': unpack those of WildOcc there, or set "
            "dataset.labels_root (docs/prepare_data.md)"
        )
    paths = sorted(path for path in root.rglob("*.npy") if not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"'{root}' has no label file *.npy: unpack those of WildOcc there")
    found: dict[Frame, Path] = {}
    strangers = []
    for path in paths:
        frame = _frame_of(path.relative_to(root), frame_of_image)
        if frame is None:
            strangers.append(path.relative_to(root).as_posix())
        elif frame in found:
            raise ValueError(
                f"'{root}' has two label files of frame {frame.stem}: {found[frame]} and {path}. "
                "Keep those of one release"
            )
        else:
            found[frame] = path
    if strangers:
        raise ValueError(
            f"'{root}': {len(strangers)} of {len(paths)} files *.npy name no frame "
            f"({shortlist(strangers)}): expected a sequence such as 00003 in the path and the six "
            "digits of a frame in the name. Move other files elsewhere"
        )
    return found


def missing_by_sequence(frames: Iterable[Frame]) -> str:
    """Format how many frames of each sequence lack labels, such as "00001: 28 (2291–2318)"."""
    numbers: dict[str, list[int]] = {}
    for frame in frames:
        numbers.setdefault(frame.sequence, []).append(frame.number)
    return ", ".join(
        f"{name}: {len(of)} (from {min(of)} to {max(of)})" for name, of in sorted(numbers.items())
    )


def _frame_of(path: Path, frame_of_image: Mapping[str, Frame]) -> Frame | None:
    parsed = parse_image(path.stem)
    if parsed is not None and path.stem in frame_of_image:
        return frame_of_image[path.stem]
    sequences = set(_SEQUENCE.findall(path.as_posix()))
    number = parsed[0] if parsed is not None else _number_in(path.stem, sequences)
    if len(sequences) != 1 or number is None:
        return None
    return Frame(sequences.pop(), number)


def _number_in(stem: str, sequences: Collection[str]) -> int | None:
    """Return the only number of six digits, or the only number that names no sequence."""
    numbers: list[str] = _NUMBER.findall(stem)
    if not numbers:
        numbers = [text for text in re.findall(r"\d+", stem) if text not in sequences]
    return int(numbers[0]) if len(numbers) == 1 else None
