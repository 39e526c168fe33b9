"""Keeps the index of nuScenes' tables beside them, so that they are read once.

A cache is used only where it fits the tables as they are now; one that is broken, stale or of
something else is built again. It holds plain arrays, which cannot run code.
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
"""Name of the cache, in the folder of the tables."""

_FORMAT = {"holds": "index of nuScenes key frames for UnsOcc", "version": 1}
_HEADER = "header"
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,  # Of zipfile: a compression that it does not know.
    RuntimeError,  # Of zipfile: encryption.
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a file that is no cache may raise."""

Stamp = dict[str, list[int]]


def load_index(data_root: str | Path, version: str) -> KeyFrameIndex:
    """The index of a version's tables: from its cache, or built, which takes a minute, and cached.

    Several processes of one machine that ask at once wait for one of them to build it.

    Args:
        data_root: The data set.
        version: Name of the folder of tables, such as "v1.0-mini".

    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If a table is damaged.
    """
    folder = Path(data_root) / version
    stamp = _stamp(folder)
    path = folder / CACHE
    with _alone(folder):
        index = _read_cache(path, stamp)
        if index is None:
            index = _build(folder, stamp)
            _write_cache(path, stamp, index)
    return index


def _stamp(folder: Path) -> Stamp:
    """Size and time of change of each table."""
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
    # Imports mmengine's Runner, which takes seconds, and few runs build an index.
    from utils.progress import Progress

    logger = MMLogger.get_current_instance()
    megabytes = sum(size for size, _ in stamp.values()) / 1e6
    logger.info(f"reading the tables of '{folder}', {megabytes:.0f} MB, for an index; done once")
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
    """The cached index; None where there is none that can be used."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            header = json.loads(arrays[_HEADER].item())
            if header == {**_FORMAT, "tables": stamp}:
                return KeyFrameIndex(**{f.name: arrays[f.name] for f in fields(KeyFrameIndex)})
            is_ours = isinstance(header, dict) and _FORMAT.items() <= header.items()
            reason = "the tables have changed since" if is_ours else "it is of another format"
    except _FAULTS as error:
        reason = f"it is broken ({type(error).__name__}: {error})"
    MMLogger.get_current_instance().info(f"'{path}' is not used, but built again: {reason}")
    return None


def _write_cache(path: Path, stamp: Stamp, index: KeyFrameIndex) -> None:
    """Write the cache; it appears complete or not at all."""
    arrays: dict[str, Any] = {field.name: getattr(index, field.name) for field in fields(index)}
    arrays[_HEADER] = np.array(json.dumps({**_FORMAT, "tables": stamp}))
    try:
        with new_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        MMLogger.get_current_instance().warning(
            f"the index cannot be kept in '{path}' ({error}): every run will read the tables "
            "again. Let one run write there"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # Some network file systems cannot; each process then reads.
            MMLogger.get_current_instance().info(f"'{folder}' cannot be locked ({error})")
        yield
    finally:
        os.close(handle)
