"""Split frames into train, val and test: by lists, official scene ids, or region."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmengine.logging import MMLogger

from dataset import layout
from dataset.inventory import time_order
from dataset.scene_files import Scene, read_scene_info, read_stem_list
from utils.shortlist import shortlist

SPLITS = ("train", "val", "test")
SOURCES = ("auto", "lists", "official", "region")

REGIONS = {
    "location_1": "train",
    "location_2": "train",
    "location_3": "train",
    "location_4_5": "val",
    "location_6": "test",
}
"""The split of the mini release, with held-out regions."""

_OFFICIAL_FILE = Path(__file__).parent / "unscenes3d_official_split.json"
_CHOICES = (
    f"Write {layout.IMAGESETS}/train.txt, val.txt and test.txt (one stem per line), or set "
    "split_source to official or region"
)


@dataclass(frozen=True)
class SplitFrames:
    """The frames of one split.

    Attributes:
        stems: Stems of the frames.
        source: Where the split comes from: "lists", "official" or "region".
    """

    stems: tuple[str, ...]
    source: str


def official_split() -> dict[str, tuple[str, ...]]:
    """Return the official scene ids of each split, such as "00000"."""
    content = json.loads(_OFFICIAL_FILE.read_text(encoding="utf-8"))
    return {split: tuple(content["splits"][split]) for split in SPLITS}


def load_scenes(data_root: str | Path) -> dict[str, Scene]:
    """Load the drives of a data set by name; empty without a ``scene_info.json``."""
    path = Path(data_root) / layout.IMAGESETS / layout.SCENE_INFO
    return read_scene_info(path) if path.is_file() else {}


def scene_of_stem(scenes: Mapping[str, Scene]) -> dict[str, str]:
    """Return the drive of each frame, labeled or not."""
    return {
        stem: name for name, scene in scenes.items() for stem in (*scene.samples, *scene.sweeps)
    }


def frames_by_scene(scene_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Group stems by drive, in time order."""
    frames = defaultdict(list)
    for stem in sorted(scene_of, key=time_order):
        frames[scene_of[stem]].append(stem)
    return dict(frames)


def sweeps_of_frames(
    stems: Sequence[str], scene_of: Mapping[str, str], num_sweeps: int
) -> dict[str, list[str]]:
    """Return each frame and the frames before it in its drive, latest first.

    Args:
        stems: Stems of the frames.
        scene_of: Drive of each frame.
        num_sweeps: Length of the lists, including the frame itself; shorter at the start of a
            drive.

    Raises:
        ValueError: If the drive of a frame is unknown.
    """
    without_scene = [stem for stem in stems if stem not in scene_of]
    if without_scene:
        raise ValueError(
            f"num_sweeps={num_sweeps} needs the drive of each frame; {len(without_scene)} frames "
            f"are in no drive of {layout.IMAGESETS}/{layout.SCENE_INFO}: "
            f"{shortlist(without_scene)}. Add them, or set num_sweeps=1"
        )
    sweeps = {}
    for frames in frames_by_scene(scene_of).values():
        for i, stem in enumerate(frames):
            sweeps[stem] = frames[max(0, i + 1 - num_sweeps) : i + 1][::-1]
    return {stem: sweeps[stem] for stem in stems}


def split_frames(
    data_root: str | Path, split: str, source: str, scenes: Mapping[str, Scene]
) -> SplitFrames:
    """Return the frames of a split.

    Args:
        data_root: The data set.
        split: "train", "val" or "test".
        source: "lists" reads ``imagesets/*.txt``; "official" uses the published scene ids and
            "region" the locations of the scenes, both from ``scene_info.json``; "auto" takes the
            first of the three that the data set supports, independent of the split.
        scenes: Result of ``load_scenes``.

    Raises:
        ValueError: If the split or source is unknown, a scene belongs to no split, the split is
            empty, a frame is listed twice, or two splits share a frame.
        FileNotFoundError: If a list or ``scene_info.json`` is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}'; known: {SPLITS} and 'all'")
    stems, source = _split_stems(data_root, source, scenes)
    if split not in stems:
        lists = f"lists for {sorted(stems)}" if stems else "no lists"
        raise FileNotFoundError(
            f"'{data_root}' has {lists} in {layout.IMAGESETS}/, expected {split}.txt. {_CHOICES}"
        )
    if not stems[split]:
        raise ValueError(f"the split '{split}' of '{data_root}' ({source}) is empty. {_CHOICES}")
    return SplitFrames(tuple(stems[split]), source)


def all_splits(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> dict[str, SplitFrames]:
    """Return the frames of each nonempty split by name.

    Args:
        data_root: The data set.
        source: As for ``split_frames``.
        scenes: Result of ``load_scenes``.

    Raises:
        ValueError: As in ``split_frames``, but empty splits are allowed unless all are empty.
        FileNotFoundError: If there is neither a list nor ``scene_info.json``.
    """
    stems, source = _split_stems(data_root, source, scenes)
    found = {split: SplitFrames(tuple(frames), source) for split, frames in stems.items() if frames}
    if not found:
        raise ValueError(f"every split of '{data_root}' ({source}) is empty. {_CHOICES}")
    return found


def check_disjoint(splits: Mapping[str, Sequence[str]]) -> None:
    """Check that no frame is listed twice, in one split or in two.

    Raises:
        ValueError: If a frame is; counts them and lists the first.
    """
    names = list(splits)
    for i, name in enumerate(names):
        unique = set(splits[name])
        if len(unique) < len(splits[name]):
            repeated = sorted(stem for stem, count in Counter(splits[name]).items() if count > 1)
            raise ValueError(
                f"{len(repeated)} frames are listed twice in '{name}': {shortlist(repeated)}"
            )
        for other in names[i + 1 :]:
            shared = sorted(unique.intersection(splits[other]))
            if shared:
                raise ValueError(
                    f"the splits '{name}' and '{other}' share {len(shared)} frames "
                    f"({shortlist(shared)}): scores would be meaningless. Split by whole scenes"
                )


def _split_stems(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> tuple[dict[str, list[str]], str]:
    """Return the stems of every split, or of those with a list, and the source used."""
    if source not in SOURCES:
        raise ValueError(f"unknown split_source '{source}'; known: {SOURCES}")
    source = _find_source(data_root, scenes) if source == "auto" else source
    stems = (
        _stems_from_lists(data_root)
        if source == "lists"
        else _stems_from_scenes(data_root, source, scenes)
    )
    check_disjoint(stems)
    _warn_shared_scenes(stems, scene_of_stem(scenes))
    return stems, source


def _find_source(data_root: str | Path, scenes: Mapping[str, Scene]) -> str:
    folder = Path(data_root) / layout.IMAGESETS
    if any((folder / f"{split}.txt").is_file() for split in SPLITS):
        return "lists"
    splits = [_official_split_of(name) for name in scenes]
    return "official" if None not in splits and set(splits) == set(SPLITS) else "region"


def _stems_from_lists(data_root: str | Path) -> dict[str, list[str]]:
    paths = {split: Path(data_root) / layout.IMAGESETS / f"{split}.txt" for split in SPLITS}
    return {split: read_stem_list(path) for split, path in paths.items() if path.is_file()}


def _stems_from_scenes(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> dict[str, list[str]]:
    if not scenes:
        raise FileNotFoundError(
            f"'{data_root}' has neither lists nor scenes in {layout.IMAGESETS}/ to split by. Copy "
            f"{layout.SCENE_INFO} from the release, write the lists, or use the split 'all'"
        )
    stems: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, scene in scenes.items():
        split = _official_split_of(name) if source == "official" else REGIONS.get(scene.location)
        if split is None:
            by = "scene id" if source == "official" else f"location (known: {sorted(REGIONS)})"
            raise ValueError(
                f"scene '{name}' (location '{scene.location}') of '{data_root}' is in no split by "
                f"{by}. {_CHOICES}"
            )
        stems[split] += scene.samples
    return stems


def _official_split_of(scene_name: str) -> str | None:
    """Return the split of a scene named ``scene_00000`` or ``clip_00000``; None if unknown."""
    number = re.fullmatch(r"(?:scene|clip)_(\d{5})", scene_name)
    return _official_split_by_id().get(number[1]) if number else None


@cache
def _official_split_by_id() -> dict[str, str]:
    return {scene_id: split for split, ids in official_split().items() for scene_id in ids}


def _warn_shared_scenes(splits: Mapping[str, Sequence[str]], scene_of: Mapping[str, str]) -> None:
    """Warn if lists cut a scene in two: its frames are so similar that scores are inflated."""
    used = {name: {scene_of.get(stem, "") for stem in splits[name]} - {""} for name in splits}
    names = list(splits)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            shared = sorted(used[name] & used[other])
            if shared:
                MMLogger.get_current_instance().warning(
                    f"the splits '{name}' and '{other}' have frames of the same {len(shared)} "
                    f"scenes ({shortlist(shared)}): scores will be inflated"
                )
