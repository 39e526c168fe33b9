"""Atomic file writes: a file appears complete or not at all, and an error names it."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FULL_BYTES = 2**20
"""With less space than this, a disk counts as full."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_PARTIAL = re.compile(r"\..+\.(\d+)\.partial(\.\w+)?")


@contextmanager
def new_file(path: Path, *, ending: str = "") -> Iterator[Path]:
    """Yield a temporary path; on success it replaces ``path``.

    Args:
        path: The final path; an existing file is replaced, and the folder is created.
        ending: Suffix of the temporary name, for writers that infer the format from it.

    Raises:
        OSError: If it cannot be written: names ``path`` if the disk is full, or the folder if that
            is read-only.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{ending}")
    try:
        with name_read_only_folder(path.parent), name_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(path)
    except Exception as error:
        if isinstance(error, OSError) and error.filename == str(partial):
            raise OSError(error.errno, error.strerror, str(path)) from error
        if isinstance(error, OSError | RuntimeError) and _is_full(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.errno is None:  # By numpy.
            raise OSError(f"{path}: {error}") from error
        raise
    finally:
        with suppress(OSError):  # On a read-only disk, there is nothing to remove.
            partial.unlink()


@contextmanager
def name_full_disk(path: Path | str) -> Iterator[None]:
    """Name a path in an error that says "no space left" but not where.

    Raises:
        OSError: Instead of such an error.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and getattr(cause, "filename", None) is None:
            if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            cause = cause.__cause__ or cause.__context__
        raise


@contextmanager
def name_read_only_folder(folder: Path) -> Iterator[None]:
    """Name a folder, not the hidden file in it, in an error that says "read-only" or "denied".

    Raises:
        OSError: Instead of such an error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ACCESS and Path(error.filename or "").parent == folder:
            raise OSError(
                error.errno, f"cannot write here: {error.strerror}", str(folder)
            ) from error
        raise


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the temporary files that killed processes left in a folder.

    Call it only for a folder that no process of another machine writes to.

    Returns:
        What was removed.
    """
    found = [(path, _PARTIAL.fullmatch(path.name)) for path in folder.glob(".*.partial*")]
    left = [path for path, match in found if match and not _is_running(int(match[1]))]
    for path in left:
        path.unlink(missing_ok=True)
    return left


def write_whole(path: Path, content: bytes | str) -> None:
    """Write bytes, or text as UTF-8."""
    with new_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a small JSON file."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def _is_full(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free < FULL_BYTES


def _is_running(process: int) -> bool:
    """Whether another process of this machine has this id."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Of another user.
        return True
    return True
