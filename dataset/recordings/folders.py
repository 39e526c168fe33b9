"""The recordings below a folder, and which of them make up a split."""

import filecmp
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from dataset.splits import SPLITS
from utils.shortlist import shortlist

ALL = "all"
"""The split of every frame of every recording."""
IMAGES, CLOUDS, CALIBRATION = "images", "clouds", "calib.json"

Names = str | Sequence[str] | None


@dataclass(frozen=True)
class Splits:
    """Recordings of each split: keys of a config's ``dataset`` section.

    A recording is the name of a folder in the data root, or another path.

    Attributes:
        train: Recordings to train on, a name or several; None: all that are in no other split.
        val: The same for validation.
        test: The same for tests.
    """

    train: Names = None
    val: Names = ()
    test: Names = ()

    def names(self, split: str) -> Sequence[str] | None:
        """Return the recordings that a split lists; None if it takes what is left."""
        names: Names = getattr(self, split)
        return [names] if isinstance(names, str) else names


def find_recordings(data_root: Path) -> dict[str, Path]:
    """Return the recordings in a folder by name, or the folder itself if it is one.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not data_root.is_dir():
        raise FileNotFoundError(f"folder '{data_root}' not found: expected recordings in it")
    if is_recording(data_root):
        return {name_of(data_root): data_root}
    found = {path.name: path for path in sorted(data_root.iterdir()) if is_recording(path)}
    if not found:
        raise FileNotFoundError(
            f"'{data_root}' has no recording: expected folders with {CLOUDS}/ or {IMAGES}/ and "
            f"{CALIBRATION} in it (docs/own_data.md)"
        )
    return found


def is_recording(path: Path) -> bool:
    """Return whether a folder has clouds or images, and is not hidden."""
    is_hidden = path.name.startswith(".")
    return not is_hidden and any((path / name).is_dir() for name in (CLOUDS, IMAGES))


def recordings_of(data_root: Path, split: str, splits: Splits) -> dict[str, Path]:
    """Return the recordings of a split by name, in the order of the config.

    Args:
        data_root: Folder of the recordings.
        split: "train", "val", "test" or "all".
        splits: Recordings of the splits.

    Raises:
        FileNotFoundError: If a recording is missing, or the folder has none.
        ValueError: If the split is unknown or empty, or a recording is in two splits, also as a
            copy, or twice in one.
    """
    if split not in (*SPLITS, ALL):
        raise ValueError(f"unknown split '{split}'; known: {SPLITS} and '{ALL}'")
    known = find_recordings(data_root)
    listed = {
        of: [_find(data_root, known, of, name) for name in splits.names(of) or ()] for of in SPLITS
    }
    used = {path.resolve() for paths in listed.values() for path in paths}
    left = [path for path in known.values() if path.resolve() not in used]
    takers = [of for of in SPLITS if splits.names(of) is None]
    listed |= dict.fromkeys(takers or ([ALL] if split == ALL else []), left)
    _check_once(listed)
    _check_copies({of: listed[of] for of in SPLITS})
    if split == ALL:
        return known | {name_of(path): path for paths in listed.values() for path in paths}
    found = listed[split]
    if not found:
        raise ValueError(
            f"the split '{split}' of '{data_root}' has no recording: choose from "
            f"{shortlist(list(known))} with --cfg-options \"dataset.{split}=['NAME']\""
        )
    return {name_of(path): path for path in found}


def name_of(path: Path) -> str:
    """Return the name of a folder, also of one such as "." or "..", and of a link."""
    return Path(os.path.abspath(path)).name


def _find(data_root: Path, known: Mapping[str, Path], split: str, name: str) -> Path:
    """Return the folder of a recording that the config names."""
    path = known.get(name, data_root / name)
    if not is_recording(path):
        raise FileNotFoundError(
            f"dataset.{split}: expected a recording in '{data_root}' or a path, found '{name}'; "
            f"there are {shortlist(list(known))}. Put several in a list: --cfg-options "
            f"\"dataset.{split}=['NAME', 'NAME']\""
        )
    return path


def _check_once(chosen: Mapping[str, Sequence[Path]]) -> None:
    """Check that each recording is in one split, and that names differ.

    Raises:
        ValueError: If that is not so.
    """
    split_of: dict[Path, str] = {}
    path_of: dict[str, Path] = {}
    for split, paths in chosen.items():
        for path in paths:
            folder, name = path.resolve(), name_of(path)
            if folder in split_of:
                where = " and ".join(dict.fromkeys([split_of[folder], split]))
                raise ValueError(
                    f"'{path}' is listed twice, in dataset.{where}: scores of frames that training "
                    "sees would be meaningless. Keep whole recordings for each split"
                )
            if name in path_of:
                raise ValueError(
                    f"'{path_of[name]}' and '{path}' have the same name, which the frames are "
                    "named after: rename one of the folders"
                )
            split_of[folder], path_of[name] = split, path


def _check_copies(listed: Mapping[str, Sequence[Path]]) -> None:
    """Check that no recording is a copy, or a part, of one in another split.

    Of two recordings with files of the same name, the first of these is compared.

    Raises:
        ValueError: If they are the same.
    """
    files = {path: _files_of(path) for paths in listed.values() for path in paths}
    for (split, paths), (other_split, others) in combinations(listed.items(), 2):
        for path, other in product(paths, others):
            shared = files[path].keys() & files[other].keys()
            if not shared:
                continue
            first, second = (files[of][min(shared)] for of in (path, other))
            if first.stat().st_size and filecmp.cmp(first, second, shallow=False):
                raise ValueError(
                    f"'{path}' in dataset.{split} and '{other}' in dataset.{other_split} have the "
                    f"same {min(shared)}: scores of frames that training sees would be "
                    "meaningless. Keep one of the two"
                )


def _files_of(recording: Path) -> dict[str, Path]:
    """Return the clouds of a recording by path in it, or its images if it has no clouds."""
    folder = next(recording / name for name in (CLOUDS, IMAGES) if (recording / name).is_dir())
    found = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(recording).as_posix(): path for path in found}
