"""Splits of RELLIS-3D: the published lists, or whole sequences."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dataset.file_content import read_text
from dataset.rellis3d.layout import CLOUDS, PERIOD_S, Frame
from dataset.splits import SPLITS, check_disjoint
from utils.shortlist import shortlist

LISTS = "lists"
"""The lists of the LiDAR benchmark, ``pt_SPLIT.lst``."""
SEQUENCE = "sequence"
"""Whole sequences, so that no drive is in two splits."""
SOURCES = (LISTS, SEQUENCE)
SEQUENCE_SPLIT = {"train": ("00000", "00001", "00002"), "val": ("00003",), "test": ("00004",)}

_LINE = re.compile(rf"(\d{{5}})/{CLOUDS}/(\d{{6}})\.bin(\s+\S+)?")
_NEAR_S = 1.0
"""Frames this close in time show almost the same."""

logger = logging.getLogger(__name__)


def split_frames(
    root: Path, split: str, source: str, frames: Sequence[Frame], *, is_whole: bool = True
) -> list[Frame]:
    """Return the frames of a split.

    Args:
        root: The data set.
        split: "train", "val" or "test".
        source: One of SOURCES.
        frames: All frames on disk.
        is_whole: Whether the whole split is used, so that neighbors in the training split and
            missing frames cause a warning.

    Raises:
        ValueError: If the split or the source is unknown, a list is invalid, two of them share a
            frame, or nothing is left.
        FileNotFoundError: If the list is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}'; known: {SPLITS} and 'all'")
    if source not in SOURCES:
        raise ValueError(f"unknown split_source '{source}'; known: {SOURCES}")
    if source == SEQUENCE:
        listed = [frame for frame in frames if frame.sequence in SEQUENCE_SPLIT[split]]
        missing = sorted(set(SEQUENCE_SPLIT[split]) - {frame.sequence for frame in listed})
        if missing and is_whole:
            logger.warning("'%s' lacks the sequences %s of '%s'", root, ", ".join(missing), split)
    else:
        lists = read_lists(root, split)
        listed = _on_disk(root, split, lists[split], frames, is_whole=is_whole)
        if is_whole and split != "train" and "train" in lists:
            _warn_of_neighbors(split, listed, lists["train"])
    if not listed:
        raise ValueError(f"the split '{split}' of '{root}' ({source}) has no frame on disk")
    return listed


def read_lists(root: Path, split: str) -> dict[str, list[Frame]]:
    """Read the lists that exist, of which that of ``split`` must.

    Raises:
        ValueError: If a list is invalid, or two of them share a frame.
        FileNotFoundError: If that of ``split`` is missing.
    """
    paths = {name: root / f"pt_{name}.lst" for name in SPLITS}
    if not paths[split].is_file():
        raise FileNotFoundError(
            f"{paths[split]} not found: copy the LiDAR split lists of RELLIS-3D there, or set "
            f"dataset.split_source='{SEQUENCE}'"
        )
    lists = {name: read_list(path) for name, path in paths.items() if path.is_file()}
    check_disjoint({name: [frame.stem for frame in found] for name, found in lists.items()})
    return lists


def read_list(path: Path) -> list[Frame]:
    """Read a list: in each line a cloud and its labels, relative to the data set.

    Raises:
        ValueError: If a line is none of these.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if match is None and line.strip():
            raise ValueError(
                f"{path}, line {number}: expected 'SEQUENCE/{CLOUDS}/NUMBER.bin …', found "
                f"{line.strip()!r}. Use the lists of the LiDAR split (pt_*.lst), not of the images"
            )
        if match is not None:
            found.append(Frame(match[1], int(match[2])))
    return found


def _on_disk(
    root: Path, split: str, listed: Sequence[Frame], frames: Iterable[Frame], *, is_whole: bool
) -> list[Frame]:
    """Leave out the sequences that are not on disk; frames within the others are checked later."""
    held = {frame.sequence for frame in frames}
    left = [frame for frame in listed if frame.sequence in held]
    if is_whole and len(left) < len(listed):
        missing = sorted({frame.sequence for frame in listed} - held)
        logger.warning(
            "'%s' lacks the sequences %s, so %d of the %d frames of '%s' are left: scores are not "
            "comparable with the benchmark",
            root, ", ".join(missing), len(left), len(listed), split,
        )  # fmt: skip
    return left


def _warn_of_neighbors(split: str, frames: Sequence[Frame], training: Sequence[Frame]) -> None:
    """Warn of frames that are almost in the training split, too: the lists cut sequences."""
    near = near_training(frames, training)
    if near:
        logger.warning(
            "%d of the %d frames of '%s' are within %g s of a frame of 'train' (%s): the published "
            "lists cut sequences, so scores are inflated. dataset.split_source='%s' keeps "
            "sequences whole",
            len(near), len(frames), split, _NEAR_S, shortlist([f.stem for f in near], most=2),
            SEQUENCE,
        )  # fmt: skip


def near_training(frames: Sequence[Frame], training: Sequence[Frame]) -> list[Frame]:
    """Return the frames within a second of a frame of the training split."""
    numbers = _by_sequence(training)
    reach = round(_NEAR_S / PERIOD_S)
    found = []
    for frame in frames:
        others = numbers.get(frame.sequence)
        if others is None:
            continue
        place = np.searchsorted(others, frame.number - reach)
        if place < len(others) and others[place] <= frame.number + reach:
            found.append(frame)
    return found


def _by_sequence(frames: Iterable[Frame]) -> Mapping[str, np.ndarray]:
    found = defaultdict(list)
    for frame in frames:
        found[frame.sequence].append(frame.number)
    return {name: np.sort(numbers) for name, numbers in found.items()}
