"""Files that appear complete or not at all, whatever stops the program that writes them."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def new_file(path: Path, *, ending: str = "") -> Iterator[Path]:
    """Where to write a file, which takes its place when all has been written.

    Args:
        path: Its place; what is there is replaced, and its folder made if need be.
        ending: Of the name until then, where the format is told by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{ending}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file of bytes, or of text in UTF-8."""
    with new_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a small JSON file."""
    write_whole(path, json.dumps(content, indent=2) + "\n")
