"""Stream the records of a JSON array of objects, in little memory."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

CHUNK_BYTES = 1 << 16
"""Bytes per read; about the fastest between 16 KiB and 1 MiB."""


def read_records(
    path: Path, on_chunk: Callable[[], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Decode the objects of an array one by one.

    At most the records of one chunk are in memory at any time.

    Args:
        path: UTF-8 file with one JSON array of objects.
        on_chunk: Called after each chunk of CHUNK_BYTES, including the shorter last one.

    Yields:
        Each object.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the text is not such an array or is truncated.
    """
    count = 0
    with path.open("rb") as file:
        _check_start(path, file)
        chunks = _Chunks(file, on_chunk)
        try:
            for record in ijson.items(chunks, "item", use_float=True, buf_size=CHUNK_BYTES):
                if not isinstance(record, dict):
                    raise _error(path, "an object {…}", count, repr(record))
                count += 1
                yield record
        except ijson.JSONError as error:
            raise _error(path, "more of a JSON array", count, _reason(error)) from error


class _Chunks:
    """File wrapper that reports each chunk read from it.

    Args:
        file: The file to read.
        on_chunk: Called after each chunk.
    """

    def __init__(self, file: BinaryIO, on_chunk: Callable[[], None] | None) -> None:
        self._file = file
        self._on_chunk = on_chunk

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; empty at the end of the file."""
        chunk = self._file.read(size)
        if chunk and self._on_chunk is not None:
            self._on_chunk()
        return chunk


def _check_start(path: Path, file: BinaryIO) -> None:
    """Skip a byte-order mark, and check that an array follows."""
    mark = codecs.BOM_UTF8
    start = len(mark) if file.read(len(mark)) == mark else 0
    file.seek(start)
    while (byte := file.read(1)).isspace():
        pass
    if byte != b"[":
        raise _error(path, "[", 0, repr(byte.decode(errors="replace")) if byte else "no text")
    file.seek(start)


def _reason(error: ijson.JSONError) -> str:
    """Return the first line of an ijson error; the C backend gives some as bytes, with context."""
    message = error.args[0] if error.args else ""
    text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    return text.partition("\n")[0]


def _error(path: Path, expected: str, count: int, found: str) -> ValueError:
    return ValueError(
        f"{path}: expected {expected} after {count} records, found {found}. The file is corrupt: "
        "unpack it again from the data set's archive"
    )
