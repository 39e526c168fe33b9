"""Files in an archive or folder, and their paths in the layout."""

import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataset import layout
from dataset.prepare.release import Source

FOLDERS = (*layout.SUFFIXES, layout.IMAGESETS, layout.BOXES)
"""Folders of the layout to unpack."""
_SYSTEM_FILES = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Member:
    """One file of a source.

    Attributes:
        source: Its archive or folder.
        name: Path in the source.
        target: Path in the data set; None if it is not part of the layout.
        size: Size in bytes.
        crc: CRC-32 of the content; None in a folder, which has none.
    """

    source: Source
    name: str
    target: str | None
    size: int
    crc: int | None


def members_of(source: Source) -> list[Member]:
    """List the files of a source, without those of operating systems.

    Raises:
        ValueError: If it is not a zip file, or has unsafe entries (absolute paths, "..", links,
            devices) or encrypted ones.
    """
    found = _in_folder(source) if source.path.is_dir() else _in_archive(source)
    return [member for member in found if not _is_system_file(member.name)]


def place(name: str, holds: Sequence[str]) -> str | None:
    """Return the path in the data set of a file in an archive; None if it has none.

    The last folder of the layout in the path counts. In an archive of a single folder, paths may
    omit the folder.

    Args:
        name: Path in the archive.
        holds: Folders in the archive; () for any.
    """
    *parents, file = PurePosixPath(name).parts
    named = [folder for folder in parents if folder in FOLDERS]
    if not named and len(holds) == 1 and holds[0] in layout.SUFFIXES:
        named = [holds[0]] if layout.stem_of(holds[0], file) else []
    return f"{named[-1]}/{file}" if named else None


def reject_conflicts(members: Sequence[Member]) -> None:
    """Reject different files with the same target.

    Raises:
        ValueError: If there are any.
    """
    taken: dict[str, Member] = {}
    for member in members:
        if member.target is None:
            continue
        other = taken.setdefault(member.target, member)
        same = other.crc is not None and (other.crc, other.size) == (member.crc, member.size)
        if other is not member and not same:
            raise ValueError(
                f"{other.source.path}: '{other.name}' and {member.source.path}: '{member.name}' "
                f"both unpack to {member.target}; unpack one data set at a time"
            )


def _in_archive(source: Source) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(source.path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        message = f"{source.path} is not a valid zip file ({error}); is the download complete?"
        raise ValueError(message) from error
    for entry in entries:
        _reject_unsafe(source.path, entry)
        if not entry.is_dir():
            target = place(entry.filename, source.archive.holds)
            yield Member(source, entry.filename, target, entry.file_size, entry.CRC)


def _in_folder(source: Source) -> Iterator[Member]:
    for path in sorted(source.path.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(source.path).as_posix()
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path}: expected a regular file, got a link or device; remove it")
        yield Member(source, name, place(name, source.archive.holds), path.stat().st_size, None)


def _reject_unsafe(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Reject an entry that could write outside the data set, or that is encrypted."""
    name = entry.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    problem = ""
    if not parts or parts[0].startswith("/") or ":" in parts[0] or "\0" in name:
        problem = "an absolute path"
    elif ".." in parts:
        problem = "a path that leaves the archive's folder"
    elif "\\" in name:
        problem = "a path with backslashes"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "a link or device"
    elif entry.flag_bits & 0x1:
        problem = "encrypted"
    if problem:
        raise ValueError(
            f"{archive}: the entry '{name}' is {problem}; the release has no such entries. "
            "Nothing was unpacked: download the archive from the page of the data set"
        )


def _is_system_file(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in _SYSTEM_FILES or part.startswith("._") for part in parts)
