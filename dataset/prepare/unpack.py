"""Unpacks members: each file atomically, and only missing ones."""

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
from utils.whole_files import name_full_disk

MARGIN_BYTES = 200 << 20
"""Disk space to keep free."""
_CHUNK = 1 << 20

Open = Callable[[Member], IO[bytes]]


def missing_members(members: Iterable[Member], root: Path, *, force: bool) -> list[Member]:
    """Return the members that are not yet unpacked.

    A file of the same size and checksum counts as unpacked. Files from a folder have no checksum:
    their size is enough.

    Args:
        members: Members to unpack.
        root: Folder of the data set.
        force: Whether to replace existing files that differ.

    Raises:
        FileExistsError: If existing files differ.
    """
    missing, other = [], []
    for member in members:
        path = root / str(member.target)
        if not os.path.lexists(path):
            missing.append(member)
        elif not _is_unpacked(path, member):
            missing.append(member)
            other.append(str(member.target))
    if other and not force:
        raise FileExistsError(
            f"'{root}' has {len(other)} files that differ from those of the archives: "
            f"{shortlist(other)}. Choose another folder, or pass --force to replace them"
        )
    return missing


def require_space(members: Iterable[Member], root: Path) -> None:
    """Check that the disk has enough space for the members.

    Raises:
        OSError: If it does not.
    """
    needed = sum(member.size for member in members) + MARGIN_BYTES
    folder = next(path for path in (root, *root.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"'{root}' needs {needed / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB free. Free "
            "some space, or choose another disk"
        )


def unpack(members: Sequence[Member], root: Path, on_bytes: Callable[[int], object]) -> None:
    """Unpack members.

    Args:
        members: Members to unpack, grouped by archive.
        root: Folder of the data set.
        on_bytes: Called with the number of bytes of each chunk.

    Raises:
        ValueError: If an archive is corrupt.
    """
    for path, group in groupby(members, lambda member: member.source.path):
        with _opened(path) as open_member:
            for member in group:
                try:
                    _write(member, open_member, root, on_bytes)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    message = f"{path}: '{member.name}' is corrupt ({error}); download it again"
                    raise ValueError(message) from error


@contextmanager
def _opened(path: Path) -> Iterator[Open]:
    """Open an archive or folder, and yield the function that opens its members."""
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
    # The name is the same in every run, so that leftovers are overwritten.
    partial = target.with_name(f".{target.name}.partial")
    try:
        with (
            open_member(member) as source,
            name_full_disk(target),
            partial.open("wb") as file,
        ):
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                on_bytes(len(chunk))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_unpacked(path: Path, member: Member) -> bool:
    """Return whether a file is the unpacked member."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    return member.crc is None or _crc(path) == member.crc


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
