"""A lock on a folder: one process at a time writes to it."""

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from utils.whole_files import name_read_only_folder, remove_leftovers

LOCK = ".lock"
"""The file that is locked; it says which process holds the folder."""

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, created if missing, and remove what killed processes left in it.

    The system releases the lock when the process ends, however that happens. A file system without
    locks gives a warning.

    Raises:
        ValueError: If another process holds the folder.
    """
    with name_read_only_folder(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = _acquire(folder)
    try:
        remove_leftovers(folder)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        file.close()


def _acquire(folder: Path) -> TextIO:
    """Open and lock the file."""
    path = folder / LOCK
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            # Unlike flock, this lock is not shared with the worker processes.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise ValueError(
                    f"{folder} is in use by {holder}: wait for it, stop it, or choose another "
                    "folder"
                ) from error
            logger.warning(
                "%s: its file system has no locks (%s); let no other process write to this folder",
                folder,
                error.strerror,
            )
        # The last holder may have removed the file after it was opened here.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            return file
        file.close()
