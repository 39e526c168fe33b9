"""Which frames belong to train, val and test: by lists, by the official scene ids, or by region."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmengine.logging import MMLogger

from dataset import layout
from dataset.formats import Scene, read_scene_info, read_stem_list
from dataset.inventory import time_order
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
"""The region-held-out split of the mini release."""

_OFFICIAL_FILE = Path(__file__).parent / "unscenes3d_official_split.json"
_CHOICES = (
    f"Write {layout.IMAGESETS}/train.txt, val.txt and test.txt (one stem a line), or set "
    "split_source to official or region"
)


@dataclass(frozen=True)
class SplitFrames:
    """The frames of one split.

    Attributes:
        stems: Their stems.
        source: How the split was made: "lists", "official" or "region".
    """

    stems: tuple[str, ...]
    source: str


def official_split() -> dict[str, tuple[str, ...]]:
    """The official scene ids of each split, such as "00000"."""
    content = json.loads(_OFFICIAL_FILE.read_text(encoding="utf-8"))
    return {split: tuple(content["splits"][split]) for split in SPLITS}


def load_scenes(data_root: str | Path) -> dict[str, Scene]:
    """The drives of a data set by name; none where there is no ``scene_info.json``."""
    path = Path(data_root) / layout.IMAGESETS / layout.SCENE_INFO
    return read_scene_info(path) if path.is_file() else {}


def scene_of_stem(scenes: Mapping[str, Scene]) -> dict[str, str]:
    """The drive that each frame, labelled or not, belongs to."""
    return {
        stem: name for name, scene in scenes.items() for stem in (*scene.samples, *scene.sweeps)
    }


def frames_by_scene(scene_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Stems of each drive in the order of time, from the drive of each stem."""
    frames = defaultdict(list)
    for stem in sorted(scene_of, key=time_order):
        frames[scene_of[stem]].append(stem)
    return dict(frames)


def sweeps_of_frames(
    stems: Sequence[str], scene_of: Mapping[str, str], num_sweeps: int
) -> dict[str, list[str]]:
    """Each frame with those before it in its drive, youngest first, fewer where a drive begins.

    Args:
        stems: Frames.
        scene_of: The drive of each frame.
        num_sweeps: Length of the lists, the frame itself included.

    Raises:
        ValueError: If a frame is in no drive.
    """
    homeless = [stem for stem in stems if stem not in scene_of]
    if homeless:
        raise ValueError(
            f"num_sweeps={num_sweeps} needs {layout.IMAGESETS}/{layout.SCENE_INFO} to say which "
            f"frames are one drive; {len(homeless)} are in none: {shortlist(homeless)}. Add them "
            "there, or set num_sweeps=1"
        )
    sweeps = {}
    for frames in frames_by_scene(scene_of).values():
        for i, stem in enumerate(frames):
            sweeps[stem] = frames[max(0, i + 1 - num_sweeps) : i + 1][::-1]
    return {stem: sweeps[stem] for stem in stems}


def split_frames(
    data_root: str | Path, split: str, source: str, scenes: Mapping[str, Scene]
) -> SplitFrames:
    """The frames of a split.

    Args:
        data_root: The data set.
        split: "train", "val" or "test".
        source: "lists" reads ``imagesets/*.txt``; "official" goes by the published scene ids and
            "region" by the scenes' locations, both from ``scene_info.json``; "auto" takes the first
            of the three that the data set allows, whichever split is asked for.
        scenes: What ``load_scenes`` gave.

    Raises:
        ValueError: If the split or source is unknown, a scene belongs to no split, the split is
            empty, a frame is named twice, or two splits share a frame.
        FileNotFoundError: If a list or ``scene_info.json`` is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}'; there are {SPLITS}, and 'all'")
    stems, source = _divide(data_root, source, scenes)
    if split not in stems:
        raise FileNotFoundError(
            f"'{data_root}' has lists for {sorted(stems)} in {layout.IMAGESETS}/, but no "
            f"{split}.txt. {_CHOICES}"
        )
    if not stems[split]:
        raise ValueError(f"the split '{split}' of '{data_root}' ({source}) is empty. {_CHOICES}")
    return SplitFrames(tuple(stems[split]), source)


def all_splits(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> dict[str, SplitFrames]:
    """The frames of each split that has any, by its name.

    Args:
        data_root: The data set.
        source: As for ``split_frames``.
        scenes: What ``load_scenes`` gave.

    Raises:
        ValueError: As ``split_frames`` does, but for an empty split only if all are.
        FileNotFoundError: If there is neither a list nor ``scene_info.json``.
    """
    stems, source = _divide(data_root, source, scenes)
    found = {split: SplitFrames(tuple(frames), source) for split, frames in stems.items() if frames}
    if not found:
        raise ValueError(f"every split of '{data_root}' ({source}) is empty. {_CHOICES}")
    return found


def refuse_overlap(splits: Mapping[str, Sequence[str]]) -> None:
    """Check that no frame is named twice, within a split or in two of them.

    Raises:
        ValueError: If one is; counts them and names the first.
    """
    names = list(splits)
    for i, name in enumerate(names):
        unique = set(splits[name])
        if len(unique) < len(splits[name]):
            twice = sorted(stem for stem, count in Counter(splits[name]).items() if count > 1)
            raise ValueError(f"{len(twice)} frames stand twice in '{name}': {shortlist(twice)}")
        for other in names[i + 1 :]:
            shared = sorted(unique.intersection(splits[other]))
            if shared:
                raise ValueError(
                    f"the splits '{name}' and '{other}' share {len(shared)} frames "
                    f"({shortlist(shared)}): scores would be worthless. Split by whole scenes"
                )


def _divide(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> tuple[dict[str, list[str]], str]:
    """The stems of every split, of lists those that are there, and how they were divided."""
    if source not in SOURCES:
        raise ValueError(f"unknown split_source '{source}'; there are {SOURCES}")
    source = _find_source(data_root, scenes) if source == "auto" else source
    stems = _by_lists(data_root) if source == "lists" else _by_scenes(data_root, source, scenes)
    refuse_overlap(stems)
    _warn_of_shared_scenes(stems, scene_of_stem(scenes))
    return stems, source


def _find_source(data_root: str | Path, scenes: Mapping[str, Scene]) -> str:
    folder = Path(data_root) / layout.IMAGESETS
    if any((folder / f"{split}.txt").is_file() for split in SPLITS):
        return "lists"
    splits = [_official_split_of(name) for name in scenes]
    return "official" if None not in splits and set(splits) == set(SPLITS) else "region"


def _by_lists(data_root: str | Path) -> dict[str, list[str]]:
    paths = {split: Path(data_root) / layout.IMAGESETS / f"{split}.txt" for split in SPLITS}
    return {split: read_stem_list(path) for split, path in paths.items() if path.is_file()}


def _by_scenes(
    data_root: str | Path, source: str, scenes: Mapping[str, Scene]
) -> dict[str, list[str]]:
    if not scenes:
        raise FileNotFoundError(
            f"'{data_root}' has neither lists nor scenes in {layout.IMAGESETS}/ to split by. Copy "
            f"{layout.SCENE_INFO} from the release, write the lists, or ask for the split 'all'"
        )
    stems: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, scene in scenes.items():
        split = _official_split_of(name) if source == "official" else REGIONS.get(scene.location)
        if split is None:
            by = "scene ids" if source == "official" else f"locations {sorted(REGIONS)}"
            raise ValueError(
                f"scene '{name}' (location '{scene.location}') of '{data_root}' is in no split by "
                f"the {by}. {_CHOICES}"
            )
        stems[split] += scene.samples
    return stems


def _official_split_of(scene_name: str) -> str | None:
    """Split of a scene named ``scene_00000`` or ``clip_00000``; None if no split has it."""
    number = re.fullmatch(r"(?:scene|clip)_(\d{5})", scene_name)
    return _official_split_by_id().get(number[1]) if number else None


@cache
def _official_split_by_id() -> dict[str, str]:
    return {scene_id: split for split, ids in official_split().items() for scene_id in ids}


def _warn_of_shared_scenes(
    splits: Mapping[str, Sequence[str]], scene_of: Mapping[str, str]
) -> None:
    """Lists may cut a scene in two; its frames are so alike that scores then mean little."""
    used = {name: {scene_of.get(stem, "") for stem in splits[name]} - {""} for name in splits}
    names = list(splits)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            shared = sorted(used[name] & used[other])
            if shared:
                MMLogger.get_current_instance().warning(
                    f"the splits '{name}' and '{other}' take frames of the same {len(shared)} "
                    f"scenes ({shortlist(shared)}): scores will look better than they are"
                )
