"""Reads a JSON table, an array of objects, record by record, in little memory."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

CHUNK_BYTES = 1 << 16
"""How much of a table is read at a time; of 16 KiB to 1 MiB about the fastest."""


def read_records(
    path: Path, on_chunk: Callable[[], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Decode the objects of an array one after the other.

    Only the records that one chunk completes are in memory at any time.

    Args:
        path: File of one JSON array of objects, in UTF-8.
        on_chunk: Called after each chunk of CHUNK_BYTES, the last and shorter one included.

    Yields:
        Each object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the text is not such an array, or ends early.
    """
    count = 0
    with path.open("rb") as file:
        _check_start(path, file)
        chunks = _Chunks(file, on_chunk)
        try:
            for record in ijson.items(chunks, "item", use_float=True, buf_size=CHUNK_BYTES):
                if not isinstance(record, dict):
                    raise _fault(path, "an object {…}", count, repr(record))
                count += 1
                yield record
        except ijson.JSONError as error:
            raise _fault(path, "more of a JSON array", count, _reason(error)) from error


class _Chunks:
    """A file that reports each chunk read from it.

    Args:
        file: What to read.
        on_chunk: Called after each chunk.
    """

    def __init__(self, file: BinaryIO, on_chunk: Callable[[], None] | None) -> None:
        self._file = file
        self._on_chunk = on_chunk

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none at the end of the file."""
        chunk = self._file.read(size)
        if chunk and self._on_chunk is not None:
            self._on_chunk()
        return chunk


def _check_start(path: Path, file: BinaryIO) -> None:
    """Step over a byte-order mark, and check that an array follows."""
    mark = codecs.BOM_UTF8
    start = len(mark) if file.read(len(mark)) == mark else 0
    file.seek(start)
    while (byte := file.read(1)).isspace():
        pass
    if byte != b"[":
        raise _fault(path, "[", 0, repr(byte.decode(errors="replace")) if byte else "no text")
    file.seek(start)


def _reason(error: ijson.JSONError) -> str:
    """The first line of an error of ijson; its C backend gives some as bytes, with an excerpt."""
    message = error.args[0] if error.args else ""
    text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    return text.partition("\n")[0]


def _fault(path: Path, expected: str, count: int, found: str) -> ValueError:
    return ValueError(
        f"{path}: expected {expected} after {count} records, found {found}. The file is damaged: "
        "unpack it again from the data set's archive"
    )
