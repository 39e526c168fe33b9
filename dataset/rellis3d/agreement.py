"""Find out how label files must be read, from the labeled points of their frames.

The labels of WildOcc come without a statement of their frame and ids. A point with a label should
lie in a voxel of its class. Each way of reading the files is scored by the share of such points,
averaged over the classes: most points are grass all around, which agrees with any way. A config
whose way is not the best is refused.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import nan
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, Int64, Integer

from dataset.rellis3d import classes
from dataset.rellis3d.labels import AXES, RELEASES, LabelForm
from utils.geometry import VoxelGrid

FRAMES = 6
"""Number of frames that are compared, spread over a split."""
LEAST_SHARE = 0.1
"""Below this share of the points, no reading agrees."""
CLEARER = 0.05
"""A reading with this much larger a share is right, and the configured one wrong."""
LEAST_POINTS = 20
"""Classes with fewer points do not count."""

_NUMBERS = {name: number for number, name in enumerate(dict.fromkeys(classes.RELLIS_IDS.values()))}
_LARGEST_ID = 255
_NO_CLASS = -1

logger = logging.getLogger(__name__)


class LabeledFrame(NamedTuple):
    """A frame with both kinds of labels.

    Attributes:
        rows: x, y, z, class of its label file.
        points: x, y, z [m] in the network's frame.
        point_ids: Class id of each point.
    """

    rows: Integer[np.ndarray, "N 4"]
    points: Float32[np.ndarray, "P _"]
    point_ids: Int64[np.ndarray, " P"]


@dataclass(frozen=True)
class Agreement:
    """How well label files agree with labeled points, for each way of reading them.

    Attributes:
        frames: Number of frames compared.
        shares: Mean over the classes of the share of the labeled points in the grid that lie in a
            voxel of their class, by axes and ids; NaN if no class has enough points.
        largest: Largest index along x, y, z.
        ids: Class ids in the files.
    """

    frames: int
    shares: Mapping[tuple[str, str], float]
    largest: tuple[int, int, int]
    ids: tuple[int, ...]

    @property
    def best(self) -> tuple[str, str]:
        """Axes and ids with the largest share."""
        return max(self.shares, key=lambda reading: np.nan_to_num(self.shares[reading], nan=-1.0))

    def table(self) -> str:
        """Format the shares in one line, the largest first."""
        order = sorted(self.shares.items(), key=lambda item: -np.nan_to_num(item[1]))
        return ", ".join(f"{axes}/{ids} {100 * share:.1f} %" for (axes, ids), share in order)


def measure(
    frames: Sequence[LabeledFrame],
    grid: VoxelGrid,
    more_ids: Sequence[tuple[int, str]] = (),
) -> Agreement:
    """Compare label files with labeled points.

    Args:
        frames: At least one frame.
        grid: Grid of the files.
        more_ids: As in ``LabelForm``.
    """
    shares = {}
    for axes, ids in product(AXES, classes.IDS):
        form = LabelForm(grid, axes, ids, tuple(more_ids))
        hits, points = np.sum([_count(frame, form) for frame in frames], axis=0)
        is_common = points >= LEAST_POINTS
        has_common = bool(is_common.any())
        shares[axes, ids] = (hits / np.maximum(points, 1))[is_common].mean() if has_common else nan
    largest = np.max([frame.rows[:, :3].max(axis=0, initial=0) for frame in frames], axis=0)
    found_ids = sorted(set().union(*(np.unique(frame.rows[:, 3]).tolist() for frame in frames)))
    return Agreement(len(frames), shares, tuple(largest.tolist()), tuple(found_ids))


def check(found: Agreement, form: LabelForm, root: str) -> None:
    """Refuse a reading that disagrees with the points.

    Args:
        found: What was measured.
        form: The reading of the config.
        root: Folder of the labels, for messages.

    Raises:
        ValueError: If the files are of another release, another reading agrees better, or none
            agrees.
    """
    _check_release(found, form, root)
    mine, best = found.shares[form.axes, form.ids], found.shares[found.best]
    if np.isnan(best):
        logger.warning(
            "the frame and the ids of the labels in '%s' could not be checked: %d frames have "
            "fewer than %d labeled points of each class in their grid",
            root, found.frames, LEAST_POINTS,
        )  # fmt: skip
        return
    what = f"share of points in voxels of their class, {found.frames} frames: {found.table()}"
    if best < LEAST_SHARE:
        raise ValueError(
            f"'{root}': expected labeled points in voxels of their class, found few with any "
            f"reading ({what}). The labels are of other frames, or of another frame of reference"
        )
    if best - mine > CLEARER:
        axes, ids = found.best
        raise ValueError(
            f"'{root}': labels_axes='{form.axes}' and labels_ids='{form.ids}' disagree with the "
            f"points ({what}). Set dataset.labels_axes='{axes}' and dataset.labels_ids='{ids}'"
        )
    if found.best != (form.axes, form.ids):
        logger.warning(
            "the labels of '%s' agree with the points about as well with another reading: %s",
            root, what,
        )  # fmt: skip
    else:
        logger.info("labels of '%s' are read as %s; %s", root, form.release, what)


def _check_release(found: Agreement, form: LabelForm, root: str) -> None:
    """Refuse labels that fill only the grid of a smaller release."""
    for name, grid in RELEASES.items():
        is_smaller = np.prod(grid.shape) < np.prod(form.grid.shape)
        if is_smaller and all(np.array(found.largest) < grid.shape):
            raise ValueError(
                f"'{root}': expected labels of {form.release}, "
                f"{'×'.join(map(str, form.grid.shape))} voxels, found indices up to "
                f"{list(found.largest)} in {found.frames} frames, as in {name}. Correct "
                "dataset.labels_grid"
            )


def _count(frame: LabeledFrame, form: LabelForm) -> Int64[np.ndarray, "2 classes"]:
    """Count, by class, the points in a voxel of their class, and those in the grid."""
    names = classes.names_of(form.ids, form.more_ids)
    scored = set(names.values()) - {"void"}
    row_class = _class_table(names, scored)
    point_class = _class_table(classes.RELLIS_IDS, scored)

    voxels = np.full(form.grid.shape, _NO_CLASS, np.int16)
    index, ids = frame.rows[:, :3].astype(np.int64), frame.rows[:, 3]
    is_inside = ((index >= 0) & (index < form.grid.shape)).all(axis=1)
    voxels[tuple(index[is_inside].T)] = row_class[np.clip(ids[is_inside], 0, _LARGEST_ID)]

    matrix = form.label_from_lidar()
    place = form.grid.voxel_from_meters(frame.points[:, :3].astype(np.float64) @ matrix[:3, :3].T)
    voxel = np.floor(place).astype(np.int64)
    wanted = point_class[np.clip(frame.point_ids, 0, _LARGEST_ID)]
    counts = ((voxel >= 0) & (voxel < form.grid.shape)).all(axis=1) & (wanted != _NO_CLASS)
    wanted = wanted[counts]
    hits = wanted[voxels[tuple(voxel[counts].T)] == wanted]
    return np.array([np.bincount(of, minlength=len(_NUMBERS)) for of in (hits, wanted)], np.int64)


def _class_table(names: Mapping[int, str], scored: Collection[str]) -> Int16[np.ndarray, " ids"]:
    """Return a number for the class of each id, the same for the same name."""
    table = np.full(_LARGEST_ID + 1, _NO_CLASS, np.int16)
    for number, name in names.items():
        if name in scored and number <= _LARGEST_ID:
            table[number] = _NUMBERS[name]
    return table
