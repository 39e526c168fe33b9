"""Atomic file writes: a file appears complete or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def new_file(path: Path, *, ending: str = "") -> Iterator[Path]:
    """Yield a temporary path; on success it replaces ``path``.

    Args:
        path: The final path; an existing file is replaced, and the folder is created.
        ending: Suffix of the temporary name, for writers that infer the format from it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{ending}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write bytes, or text as UTF-8."""
    with new_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a small JSON file."""
    write_whole(path, json.dumps(content, indent=2) + "\n")
