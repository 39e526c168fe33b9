"""Cache of the nuScenes index, stored beside the tables, so that they are read only once.

A corrupt or outdated cache is rebuilt. It holds plain arrays, which cannot run code.
"""

import fcntl
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from dataset.json_records import CHUNK_BYTES
from dataset.nuscenes.index import KeyFrameIndex
from dataset.nuscenes.tables import TABLES, build_index
from utils.whole_files import new_file

CACHE = "unsocc_index.npz"
"""File name of the cache, in the folder of the tables."""

_FORMAT = {"holds": "index of nuScenes key frames for UnsOcc", "version": 1}
_HEADER = "header"
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,  # zipfile: unknown compression.
    RuntimeError,  # zipfile: encryption.
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that reading an invalid cache may raise."""

Stamp = dict[str, list[int]]


def load_index(data_root: str | Path, version: str) -> KeyFrameIndex:
    """Load the index of a version from its cache, or build and cache it, which takes a minute.

    If several processes of one machine need the index, one builds it and the others wait.

    Args:
        data_root: Folder of the data set.
        version: Name of the folder of tables, such as "v1.0-mini".

    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If a table is corrupt.
    """
    folder = Path(data_root) / version
    stamp = _stamp(folder)
    path = folder / CACHE
    with _locked(folder):
        index = _read_cache(path, stamp)
        if index is None:
            index = _build(folder, stamp)
            _write_cache(path, stamp, index)
    return index


def _stamp(folder: Path) -> Stamp:
    """Return the size and modification time of each table."""
    missing = [f"{name}.json" for name in TABLES if not (folder / f"{name}.json").is_file()]
    if missing:
        found = sorted(path.name for path in folder.glob("*.json"))
        raise FileNotFoundError(
            f"'{folder}' lacks the tables {missing}; it has {found}. Unpack the metadata of "
            "nuScenes there (see docs/prepare_data.md)"
        )
    stats = {name: (folder / f"{name}.json").stat() for name in TABLES}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _build(folder: Path, stamp: Stamp) -> KeyFrameIndex:
    # Imported here: it loads mmengine's Runner, which takes seconds, and few runs build an index.
    from utils.progress import Progress

    logger = MMLogger.get_current_instance()
    megabytes = sum(size for size, _ in stamp.values()) / 1e6
    logger.info(f"indexing the tables of '{folder}' ({megabytes:.0f} MB), once")
    chunks = sum(math.ceil(size / CHUNK_BYTES) for size, _ in stamp.values())
    progress = Progress(f"index {folder.name}", chunks)
    try:
        index = build_index(folder, lambda: progress.advance(str))
    finally:
        progress.close()
    logger.info(
        f"'{folder}': {len(index.sample_token)} key frames of {len(index.scene_name)} scenes"
    )
    return index


def _read_cache(path: Path, stamp: Stamp) -> KeyFrameIndex | None:
    """Read the cached index; None without a valid cache."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            header = json.loads(arrays[_HEADER].item())
            if header == {**_FORMAT, "tables": stamp}:
                return KeyFrameIndex(**{f.name: arrays[f.name] for f in fields(KeyFrameIndex)})
            is_ours = isinstance(header, dict) and _FORMAT.items() <= header.items()
            reason = "the tables have changed" if is_ours else "it has another format"
    except _FAULTS as error:
        reason = f"it is corrupt ({type(error).__name__}: {error})"
    MMLogger.get_current_instance().info(f"rebuilding the index '{path}': {reason}")
    return None


def _write_cache(path: Path, stamp: Stamp, index: KeyFrameIndex) -> None:
    """Write the cache atomically."""
    arrays: dict[str, Any] = {field.name: getattr(index, field.name) for field in fields(index)}
    arrays[_HEADER] = np.array(json.dumps({**_FORMAT, "tables": stamp}))
    try:
        with new_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        MMLogger.get_current_instance().warning(
            f"cannot write the index to '{path}' ({error}), so every run reads the tables again: "
            "make the folder writable for one run"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes of this machine, if the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # Some network file systems cannot lock.
            MMLogger.get_current_instance().info(f"cannot lock '{folder}' ({error})")
        yield
    finally:
        os.close(handle)
