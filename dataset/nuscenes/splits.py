"""The official splits of nuScenes: which scenes of which version of its tables they hold."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mmengine.logging import MMLogger

from utils.shortlist import shortlist

VERSIONS = ("v1.0-trainval", "v1.0-test", "v1.0-mini")
"""Folders of tables, below the data set's root."""

_LISTS = {
    ("v1.0-trainval", "train"): "train",
    ("v1.0-trainval", "val"): "val",
    ("v1.0-test", "test"): "test",
    ("v1.0-mini", "train"): "mini_train",
    ("v1.0-mini", "val"): "mini_val",
}
SPLITS = tuple(dict.fromkeys(split for _, split in _LISTS))
ALL = "all"
"""The split of every scene of a version."""
AUTO = "auto"
"""The version that is found by ``find_version``."""

_OFFICIAL_FILE = Path(__file__).parent / "nuscenes_splits.json"


@cache
def official_scenes(version: str, split: str) -> tuple[str, ...]:
    """Names of the scenes of a split.

    Args:
        version: One of VERSIONS.
        split: "train", "val" or "test", of those that the version has.

    Raises:
        ValueError: If the version or the split is unknown, or the version lacks the split.
    """
    _check(version, split)
    if (version, split) not in _LISTS:
        held = [name for known, name in _LISTS if known == version]
        raise ValueError(f"{version} has the splits {held} and '{ALL}', not '{split}'")
    content = json.loads(_OFFICIAL_FILE.read_text(encoding="utf-8"))
    return tuple(content[_LISTS[version, split]])


def find_version(data_root: str | Path, split: str, version: str = AUTO) -> str:
    """The version of the tables to read for a split.

    Args:
        data_root: Folder that holds the folders of tables.
        split: One of SPLITS, or "all".
        version: One of VERSIONS, or "auto" for the first of them that is there and has the split.

    Raises:
        ValueError: If the version or the split is unknown.
        FileNotFoundError: If the data set, or the tables of the version, are not there.
    """
    _check(version, split)
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data set at '{root}': set data_root to its folder")
    wanted = [
        name
        for name in VERSIONS
        if version in (AUTO, name) and (split == ALL or (name, split) in _LISTS)
    ]
    if not wanted:
        official_scenes(version, split)  # Says which splits the version has.
    there = [name for name in wanted if (root / name).is_dir()]
    if not there:
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise FileNotFoundError(
            f"'{root}' has no tables {' or '.join(wanted)} for the split '{split}'; it has the "
            f"folders {found}. Unpack the metadata of nuScenes there (see docs/prepare_data.md)"
        )
    return there[0]


def scenes_of_split(
    version: str, split: str, scenes: Sequence[str], *, is_whole: bool = True
) -> list[str]:
    """The scenes of a split that a version's tables hold, in order of their names.

    Args:
        version: One of VERSIONS.
        split: One of SPLITS, or "all".
        scenes: Names of the scenes in the tables.
        is_whole: Whether all of the split is asked for, and missing scenes are warned of.

    Raises:
        ValueError: If there are none.
    """
    if split == ALL:
        return sorted(scenes)
    official = official_scenes(version, split)
    held = sorted(set(official).intersection(scenes))
    if not held:
        raise ValueError(
            f"none of the {len(official)} official scenes of '{split}' ({shortlist(official)}) is "
            f"among the {len(scenes)} scenes of the tables {version}: {shortlist(scenes)}. "
            f"Ask for the split '{ALL}', or unpack the official tables"
        )
    if is_whole and len(held) < len(official):
        MMLogger.get_current_instance().warning(
            f"the tables {version} hold {len(held)} of the {len(official)} official scenes of "
            f"'{split}': scores on them are not those of the benchmark"
        )
    return held


def _check(version: str, split: str) -> None:
    if version not in (*VERSIONS, AUTO):
        raise ValueError(f"unknown version '{version}'; there are {VERSIONS}, and '{AUTO}'")
    if split not in (*SPLITS, ALL):
        raise ValueError(f"unknown split '{split}'; there are {SPLITS}, and '{ALL}'")
