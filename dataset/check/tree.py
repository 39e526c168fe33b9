"""Checks that folders, scenes and splits name the same frames."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset import layout
from dataset.check.findings import Finding, Level
from dataset.inventory import list_folder, require_folders, time_order
from dataset.scene_files import Scene, read_stem_list
from dataset.splits import SPLITS, load_scenes, scene_of_stem, split_frames

RECORDED = (layout.IMAGES, layout.CLOUDS, layout.CALIBS)
"""Folders with a file of every frame, labeled or not, like ``vehicle_infos``, which is optional."""
LABELS = tuple(
    folder for folder in layout.SUFFIXES if folder not in (*RECORDED, layout.VEHICLE_INFOS)
)
"""Folders with a file of every labeled frame."""


@dataclass(frozen=True)
class Tree:
    """The file names of a data set and its ``imagesets/``.

    Attributes:
        root: Folder of the data set.
        files: Stems in each existing folder.
        scenes: Scenes by name.
        splits: Stems of each split.
        source: Source of the splits: "lists", "official", "region", or "" without splits.
        lists: Stems in each ``imagesets/*.txt``.
    """

    root: Path
    files: Mapping[str, frozenset[str]]
    scenes: Mapping[str, Scene]
    splits: Mapping[str, Sequence[str]]
    source: str
    lists: Mapping[str, Sequence[str]]

    @property
    def stems(self) -> list[str]:
        """All frames with a file, in order of time."""
        return sorted(frozenset().union(*self.files.values()), key=time_order)

    @property
    def recorded(self) -> frozenset[str]:
        """Frames with an image, a point cloud or a calibration."""
        return frozenset().union(*(self.files.get(folder, frozenset()) for folder in RECORDED))

    @property
    def named(self) -> set[str]:
        """Frames in a scene or a list."""
        listed = (stem for stems in self.lists.values() for stem in stems)
        return {*scene_of_stem(self.scenes), *listed}

    @property
    def labeled(self) -> set[str]:
        """Frames that should have labels: the samples, or else those with an occupancy label."""
        samples = {stem for scene in self.scenes.values() for stem in scene.samples}
        samples.update(stem for stems in self.lists.values() for stem in stems)
        return samples or set(self.files.get(layout.OCCUPANCY, ()))

    def folders_of(self, stem: str) -> tuple[str, ...]:
        """Return the folders with a file of a frame."""
        return tuple(folder for folder, stems in self.files.items() if stem in stems)


def read_tree(root: Path) -> tuple[Tree, list[Finding]]:
    """List the files of a data set and read its ``imagesets/``.

    Returns:
        The tree, and the findings about the files in ``imagesets/``.

    Raises:
        FileNotFoundError: If there is no data set.
    """
    require_folders(root, [])
    folders = [folder for folder in layout.SUFFIXES if (root / folder).is_dir()]
    if not folders:
        found = sorted(path.name for path in root.iterdir())[:8]
        raise FileNotFoundError(
            f"'{root}' has none of the folders {sorted(layout.SUFFIXES)}; it has {found}. "
            "Pass the folder with images/, clouds/ and so on"
        )
    scenes, findings = _read_scenes(root)
    lists = _read_lists(root)
    splits, source = lists, "lists" if lists else ""
    if not lists and scenes:
        try:
            splits, source = _split(root, scenes)
        except ValueError as error:
            findings.append(Finding(Level.WARNING, "splits", layout.IMAGESETS, "", str(error)))
    files = {}
    for folder in folders:
        names, others = list_folder(root, folder)
        files[folder] = frozenset(names)
        findings += [_no_file(folder, name) for name in others]
        findings += [
            _finding(folder, stem, "repeated_file", f"several files of one frame: {sorted(found)}")
            for stem, found in names.items()
            if len(found) > 1
        ]
    return Tree(root, files, scenes, splits, source, lists), findings


def check_tree(tree: Tree) -> list[Finding]:
    """Compare the folders, the scenes and the splits."""
    return [
        *check_folders(tree),
        *check_joins(tree),
        *check_names(tree),
        *check_scenes(tree),
        *check_lists(tree),
    ]


def check_folders(tree: Tree) -> list[Finding]:
    """Report missing folders: an error for recordings, a warning for labels."""
    return [
        Finding(
            Level.ERROR if folder in RECORDED else Level.WARNING,
            "folder",
            folder,
            "",
            "the folder is missing; its files are not checked",
        )
        for folder in layout.SUFFIXES
        if folder not in tree.files
    ]


def check_joins(tree: Tree) -> list[Finding]:
    """Report missing files of a frame, and labels without a recording."""
    findings = []
    recorded = tree.recorded
    for folder, present in tree.files.items():
        expected = tree.labeled & recorded if folder in LABELS else recorded
        for stem in sorted(expected - present, key=time_order):
            kind = "labeled" if folder in LABELS else "recorded"
            message = f"missing file of a {kind} frame; copy it, or remove all files of the frame"
            findings.append(_finding(folder, stem, "missing_file", message))
        for stem in sorted(present - recorded, key=time_order):
            message = (
                "no image, cloud or calibration has this stem; is the file from another data set?"
            )
            findings.append(_finding(folder, stem, "no_recording", message))
    return findings


def check_names(tree: Tree) -> list[Finding]:
    """Report frames that ``imagesets/`` and folders do not share, and stems that are not times."""
    findings = []
    for stem in sorted(tree.named.difference(tree.stems)):
        message = "listed in imagesets/, but no folder has a file of it"
        findings.append(Finding(Level.ERROR, "unknown_frame", layout.IMAGESETS, stem, message))
    if tree.named:
        for stem in sorted(tree.recorded - tree.named, key=time_order):
            folder = tree.folders_of(stem)[0]
            message = "the frame is in no scene and no list, and will not be used"
            findings.append(_finding(folder, stem, "unlisted_frame", message, Level.WARNING))
    for stem in tree.stems:
        if time_order(stem)[0] == float("inf"):
            message = "the stem is not a timestamp in seconds, which poses and sweeps need"
            folder = tree.folders_of(stem)[0]
            findings.append(_finding(folder, stem, "stem", message, Level.WARNING))
    return findings


def check_scenes(tree: Tree) -> list[Finding]:
    """Report frames that are in the scenes more than once."""
    counts = Counter(
        stem for scene in tree.scenes.values() for stem in (*scene.samples, *scene.sweeps)
    )
    path = f"{layout.IMAGESETS}/{layout.SCENE_INFO}"
    message = "the frame is in the scenes more than once"
    repeated = sorted(stem for stem, count in counts.items() if count > 1)
    return [Finding(Level.ERROR, "scene_overlap", path, stem, message) for stem in repeated]


def check_lists(tree: Tree) -> list[Finding]:
    """Report frames in two splits or twice in one, and scenes cut by the splits."""
    findings = []
    names = list(tree.lists)
    scene_of = scene_of_stem(tree.scenes)
    for i, name in enumerate(names):
        stems = tree.lists[name]
        for stem in sorted(stem for stem, count in Counter(stems).items() if count > 1):
            message = f"the frame is in '{name}' more than once"
            findings.append(Finding(Level.ERROR, "split_repeats", _list_path(name), stem, message))
        for other in names[i + 1 :]:
            findings += _overlap(name, other, tree.lists, scene_of)
    return findings


def _overlap(
    name: str, other: str, lists: Mapping[str, Sequence[str]], scene_of: Mapping[str, str]
) -> list[Finding]:
    """Report what two splits share: frames are an error, scenes a warning."""
    path = _list_path(other)
    shared = sorted(set(lists[name]) & set(lists[other]))
    message = f"the frame is also in '{name}', which invalidates the scores: split by whole scenes"
    findings = [Finding(Level.ERROR, "split_overlap", path, stem, message) for stem in shared]
    scenes, others = (
        {scene_of.get(stem, "") for stem in lists[split] if stem not in shared} - {""}
        for split in (name, other)
    )
    for scene in sorted(scenes & others):
        message = f"'{scene}' is also in '{name}', and neighboring frames are almost identical"
        findings.append(Finding(Level.WARNING, "scene_cut", path, "", message))
    return findings


def _read_scenes(root: Path) -> tuple[Mapping[str, Scene], list[Finding]]:
    """Read the scenes, or return what is wrong with their file."""
    try:
        return load_scenes(root), []
    except ValueError as error:
        path = f"{layout.IMAGESETS}/{layout.SCENE_INFO}"
        message = str(error).removeprefix(f"{root / path}: ")
        return {}, [Finding(Level.ERROR, "format", path, "", message)]


def _read_lists(root: Path) -> dict[str, Sequence[str]]:
    paths = {split: root / _list_path(split) for split in SPLITS}
    return {split: read_stem_list(path) for split, path in paths.items() if path.is_file()}


def _split(root: Path, scenes: Mapping[str, Scene]) -> tuple[dict[str, Sequence[str]], str]:
    """Return the splits made from the scenes, and their source."""
    frames = {split: split_frames(root, split, "auto", scenes) for split in SPLITS}
    return {split: found.stems for split, found in frames.items()}, frames["train"].source


def _no_file(folder: str, name: str) -> Finding:
    """Report an entry that is no file, "NAME (type)"."""
    message = f"expected a file, found {name}; remove or replace it"
    return Finding(Level.ERROR, "no_file", f"{folder}/{name.partition(' (')[0]}", "", message)


def _list_path(split: str) -> str:
    return f"{layout.IMAGESETS}/{split}.txt"


def _finding(
    folder: str, stem: str, check: str, message: str, level: Level = Level.ERROR
) -> Finding:
    return Finding(level, check, layout.relative_path(folder, stem), stem, message)
