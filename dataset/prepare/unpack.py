"""Unpacks members to their places: each file whole or not at all, and none twice."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO

from dataset.prepare.members import Member
from utils.shortlist import shortlist

MARGIN_BYTES = 200 << 20
"""Left free on the disk."""
_CHUNK = 1 << 20

Open = Callable[[Member], IO[bytes]]


def missing_members(members: Iterable[Member], root: Path, *, force: bool) -> list[Member]:
    """The members that are not in their places yet.

    A file of the same size and checksum counts as there; of a folder's file the size has to do.

    Args:
        members: What is to be unpacked.
        root: The data set.
        force: Whether other files may be replaced.

    Raises:
        FileExistsError: If other files are there; counts them and names the first.
    """
    missing, other = [], []
    for member in members:
        path = root / str(member.target)
        if not os.path.lexists(path):
            missing.append(member)
        elif not _holds(path, member):
            missing.append(member)
            other.append(str(member.target))
    if other and not force:
        raise FileExistsError(
            f"'{root}' has {len(other)} files that differ from those of the archives: "
            f"{shortlist(other)}. Choose another folder, or pass --force to replace them"
        )
    return missing


def require_space(members: Iterable[Member], root: Path) -> None:
    """Check that the disk has room for the members.

    Raises:
        OSError: If it has not.
    """
    needed = sum(member.size for member in members) + MARGIN_BYTES
    folder = next(path for path in (root, *root.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"'{root}' needs {needed / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB free. Make "
            "room, or choose another disk"
        )


def unpack(members: Sequence[Member], root: Path, on_bytes: Callable[[int], object]) -> None:
    """Write members to their places.

    Args:
        members: Those of one archive follow each other.
        root: The data set.
        on_bytes: Called with the number of bytes written, again and again.

    Raises:
        ValueError: If an archive is damaged.
    """
    for path, group in groupby(members, lambda member: member.source.path):
        with _opened(path) as open_member:
            for member in group:
                try:
                    _write(member, open_member, root, on_bytes)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    message = f"{path}: '{member.name}' is damaged ({error}); get it again"
                    raise ValueError(message) from error


@contextmanager
def _opened(path: Path) -> Iterator[Open]:
    """What opens a member of an archive or a folder."""
    if path.is_dir():
        yield lambda member: (path / member.name).open("rb")
        return
    with zipfile.ZipFile(path) as archive:
        yield lambda member: archive.open(member.name)


def _write(
    member: Member, open_member: Open, root: Path, on_bytes: Callable[[int], object]
) -> None:
    target = root / str(member.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")  # The same in every run.
    try:
        with open_member(member) as source, partial.open("wb") as file:
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                on_bytes(len(chunk))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _holds(path: Path, member: Member) -> bool:
    """Whether a file is the member already."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    return member.crc is None or _crc(path) == member.crc


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
