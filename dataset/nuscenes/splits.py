"""The official splits of nuScenes: the scenes of each split in each version of the tables."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mmengine.logging import MMLogger

from utils.shortlist import shortlist

VERSIONS = ("v1.0-trainval", "v1.0-test", "v1.0-mini")
"""Folders of the tables in the data set."""

_LISTS = {
    ("v1.0-trainval", "train"): "train",
    ("v1.0-trainval", "val"): "val",
    ("v1.0-test", "test"): "test",
    ("v1.0-mini", "train"): "mini_train",
    ("v1.0-mini", "val"): "mini_val",
}
SPLITS = tuple(dict.fromkeys(split for _, split in _LISTS))
ALL = "all"
"""The split with every scene of a version."""
AUTO = "auto"
"""The version selected by ``find_version``."""

_OFFICIAL_FILE = Path(__file__).parent / "nuscenes_splits.json"


@cache
def official_scenes(version: str, split: str) -> tuple[str, ...]:
    """Return the names of the scenes of a split.

    Args:
        version: One of VERSIONS.
        split: "train", "val" or "test", if the version has it.

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
    """Return the version of the tables to read for a split.

    Args:
        data_root: Folder of the data set.
        split: One of SPLITS, or "all".
        version: One of VERSIONS, or "auto" for the first that exists and has the split.

    Raises:
        ValueError: If the version or the split is unknown.
        FileNotFoundError: If the data set or the tables of the version are missing.
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
        official_scenes(version, split)  # Raises, and names the splits of the version.
    existing = [name for name in wanted if (root / name).is_dir()]
    if not existing:
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise FileNotFoundError(
            f"'{root}' has no tables {' or '.join(wanted)} for the split '{split}'; it has the "
            f"folders {found}. Unpack the metadata of nuScenes there (see docs/prepare_data.md)"
        )
    return existing[0]


def scenes_of_split(
    version: str, split: str, scenes: Sequence[str], *, is_whole: bool = True
) -> list[str]:
    """Return the scenes of a split that are in the tables, in order of their names.

    Args:
        version: One of VERSIONS.
        split: One of SPLITS, or "all".
        scenes: Names of the scenes in the tables.
        is_whole: Whether the whole split is used, so that missing scenes cause a warning.

    Raises:
        ValueError: If the tables have none of its scenes.
    """
    if split == ALL:
        return sorted(scenes)
    official = official_scenes(version, split)
    held = sorted(set(official).intersection(scenes))
    if not held:
        raise ValueError(
            f"none of the {len(official)} official scenes of '{split}' ({shortlist(official)}) is "
            f"among the {len(scenes)} scenes of the tables {version}: {shortlist(scenes)}. "
            f"Use the split '{ALL}', or unpack the official tables"
        )
    if is_whole and len(held) < len(official):
        MMLogger.get_current_instance().warning(
            f"the tables {version} have only {len(held)} of the {len(official)} official scenes of "
            f"'{split}': scores are not comparable with the benchmark"
        )
    return held


def _check(version: str, split: str) -> None:
    if version not in (*VERSIONS, AUTO):
        raise ValueError(f"unknown version '{version}'; known: {(*VERSIONS, AUTO)}")
    if split not in (*SPLITS, ALL):
        raise ValueError(f"unknown split '{split}'; known: {(*SPLITS, ALL)}")
