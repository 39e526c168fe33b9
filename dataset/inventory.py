"""Find which files of the UnScenes3D layout exist, with one listing of each folder."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine.logging import MMLogger

from dataset import layout
from utils.shortlist import shortlist

FIELD_FOLDERS = {
    "images": (layout.IMAGES,),
    "points": (layout.CLOUDS,),
    "pixel_from_lidar": (layout.CALIBS,),
    "occupancy": (layout.OCCUPANCY,),
    "depth_m": (layout.DEPTHS,),
    "elevation_m": (layout.ELEVATION,),
    "world_from_lidar": (layout.CALIBS, layout.VEHICLE_INFOS),
    "caption": (layout.CAPTIONS,),
    "vehicle": (layout.VEHICLE_INFOS,),
    "neighbors": (layout.CALIBS, layout.VEHICLE_INFOS, layout.DEPTHS),
    "lidar_rays": (layout.CLOUDS, layout.CALIBS, layout.VEHICLE_INFOS),
    "masks": (layout.IMAGES, layout.CALIBS),
    "voxel_classes": (layout.CLOUDS, layout.CALIBS, layout.VEHICLE_INFOS),
    "video": (layout.IMAGES, layout.CALIBS, layout.VEHICLE_INFOS),
}
"""Folders that hold each field of a Sample."""


def folders_of(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that hold the fields.

    Raises:
        ValueError: If a field is unknown or the list is empty.
    """
    fields = list(fields)
    unknown = sorted(set(fields) - set(FIELD_FOLDERS))
    if unknown or not fields:
        raise ValueError(f"fields must be one or more of {sorted(FIELD_FOLDERS)}, got {fields}")
    return tuple(dict.fromkeys(folder for name in fields for folder in FIELD_FOLDERS[name]))


def list_folder(data_root: str | Path, folder: str) -> tuple[dict[str, list[str]], list[str]]:
    """List a folder of the layout, if it exists; hidden files and other suffixes are left out.

    Returns:
        The file names of each stem, of which several are an error of the data set; and the names
        of entries that are no files, with their type: folders, named pipes, devices and links that
        lead nowhere. ``stems_in`` raises both.
    """
    path = Path(data_root) / folder
    names: dict[str, list[str]] = {}
    others: list[str] = []
    if not path.is_dir():
        return names, others
    with os.scandir(path) as entries:
        for entry in entries:
            stem = layout.stem_of(folder, entry.name)
            if stem is None:
                continue
            kind = _kind_of(entry)
            if kind == "file":
                names.setdefault(stem, []).append(entry.name)
            else:
                others.append(f"{entry.name} ({kind})")
    return names, sorted(others)


def stems_in(data_root: str | Path, folder: str) -> set[str]:
    """Return the stems of the files in a folder of the layout; none if the folder is missing.

    Raises:
        ValueError: If an entry that is named like a file is none, such as a named pipe, or two
            files have the same stem, such as ``1.jpg`` and ``1.png``.
    """
    names, others = list_folder(data_root, folder)
    if others:
        raise ValueError(
            f"'{Path(data_root) / folder}': expected files, found {shortlist(others, most=5)}. "
            "Remove or replace them"
        )
    repeated = sorted(stem for stem, found in names.items() if len(found) > 1)
    if repeated:
        raise ValueError(
            f"'{Path(data_root) / folder}' has several files of {len(repeated)} frames, such as "
            f"{sorted(names[repeated[0]])}: keep one of each"
        )
    return set(names)


def path_of(data_root: str | Path, folder: str, stem: str) -> Path:
    """Return the path of a frame's file, for images with the suffix that the file has.

    If there is no file, this is the path where it would be written.
    """
    path = Path(data_root) / layout.relative_path(folder, stem)
    if folder != layout.IMAGES or path.is_file():
        return path
    for suffix in layout.IMAGE_SUFFIXES:
        for name in (f"{stem}{suffix}", f"{stem}{suffix.upper()}"):
            if (path.parent / name).is_file():
                return path.parent / name
    names = list_folder(data_root, folder)[0].get(stem)  # Such as ".Jpg".
    return path.parent / names[0] if names else path


def _kind_of(entry: os.DirEntry[str]) -> str:
    """Name the type of an entry: "file" if it can be read, also through a link."""
    try:
        if entry.is_file():
            return "file"
        mode = entry.stat().st_mode
    except OSError:  # A loop of links, or a link to something that is gone.
        return "broken link"
    if stat.S_ISDIR(mode):
        return "folder"
    return "named pipe" if stat.S_ISFIFO(mode) else "device or socket"


def require_file(path: Path) -> Path:
    """Return the path of a file that was found in a folder, unless it is no file.

    Raises:
        ValueError: If it is a folder, a named pipe, a device, or a link that leads nowhere: opening
            a pipe would wait forever.
    """
    if path.is_file():
        return path
    raise ValueError(
        f"{path}: expected a file, found a folder, a named pipe, a device, or a link that leads "
        "nowhere: remove it, or copy the file that it stands for"
    )


def complete_stems(
    data_root: str | Path, folders: Iterable[str], *, any_of: Sequence[str] = ()
) -> list[str]:
    """Return the stems that have a file in every folder, in time order.

    Args:
        data_root: The data set.
        folders: The folders.
        any_of: Further folders; a stem needs a file in one of them.

    Raises:
        FileNotFoundError: If a folder is missing.
    """
    folders = list(folders)
    require_folders(data_root, [*folders, *any_of])
    found = [stems_in(data_root, folder) for folder in folders]
    if any_of:
        found.append(set().union(*(stems_in(data_root, folder) for folder in any_of)))
    complete = set.intersection(*found)
    incomplete = len(set.union(*found)) - len(complete)
    if incomplete:
        one_of = f", and in one of {list(any_of)}" if any_of else ""
        MMLogger.get_current_instance().info(
            f"'{data_root}': {len(complete)} frames have a file in each of {folders}{one_of}; "
            f"{incomplete} others are incomplete and left out"
        )
    return sorted(complete, key=time_order)


def time_order(stem: str) -> tuple[float, str]:
    """Return a key that sorts stems by time; stems that are not a number come last."""
    try:
        return float(stem), stem
    except ValueError:
        return float("inf"), stem


def require_folders(data_root: str | Path, folders: Iterable[str]) -> None:
    """Check that folders of the layout exist.

    Raises:
        FileNotFoundError: If the root or a folder is missing; lists all that are.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data set at '{root}': set data_root to its folder")
    missing = sorted(folder for folder in folders if not (root / folder).is_dir())
    if missing:
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise FileNotFoundError(
            f"'{root}' lacks the folders {missing}; it has {found}. Unpack them there (see "
            "docs/prepare_data.md), or drop the fields that need them"
        )


def require_files(
    data_root: str | Path,
    folders: Iterable[str],
    stems: Sequence[str],
    *,
    any_of: Sequence[str] = (),
) -> None:
    """Check that every stem has a file in each folder.

    Args:
        data_root: The data set.
        folders: The folders.
        stems: The stems.
        any_of: Further folders; a stem needs a file in one of them.

    Raises:
        FileNotFoundError: If a folder or a file is missing; counts the files, folder by folder.
    """
    folders = list(folders)
    require_folders(data_root, [*folders, *any_of])
    problems = []
    if any_of:
        present = set().union(*(stems_in(data_root, folder) for folder in any_of))
        missing = [stem for stem in stems if stem not in present]
        if missing:
            names = " and ".join(f"{folder}/" for folder in any_of)
            problems.append(
                f"{names} both lack {len(missing)} of {len(stems)}: {shortlist(missing, most=5)}"
            )
    for folder in folders:
        present = stems_in(data_root, folder)
        missing = [stem for stem in stems if stem not in present]
        if missing:
            names = shortlist(missing, most=5)
            problems.append(f"{folder}/ lacks {len(missing)} of {len(stems)}: {names}")
            if folder == layout.IMAGES:
                problems[-1] += f" ({', '.join(layout.IMAGE_SUFFIXES)})"
    if problems:
        raise FileNotFoundError(
            f"frames of '{data_root}' lack files: {'; '.join(problems)}. Copy them, or remove "
            "the frames from imagesets/; predict.py and eval_iou.py can do without an image or a "
            "cloud (--allow-missing)"
        )
