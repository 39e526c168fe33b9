"""Reads a JSON table, an array of objects, record by record, in little memory."""

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHUNK_BYTES = 1 << 20
"""How much of a table is read at a time."""

_LONGEST_RECORD = 1 << 24  # Characters; text that stays undecodable for longer is broken.
_EXCERPT = 60


def read_records(
    path: Path, on_chunk: Callable[[], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Decode the objects of an array one after the other.

    No more than a chunk and a record of the text is in memory at any time.

    Args:
        path: File of one JSON array of objects, in UTF-8.
        on_chunk: Called after each chunk of CHUNK_BYTES, the last and shorter one included.

    Yields:
        Each object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the text is not such an array, or ends early.
    """
    with path.open("rb") as file:
        text = _Text(path, file, on_chunk)
        text.take("[")
        if text.peek() == "]":
            text.take("]")
        else:
            yield text.take_object()
            while text.take(",]") == ",":
                yield text.take_object()
        if text.peek():
            raise text.fault("nothing after the closing ]")


class _Text:
    """A window on a table's text that moves forward over it."""

    def __init__(self, path: Path, file: BinaryIO, on_chunk: Callable[[], None] | None) -> None:
        self.records = 0
        self._path = path
        self._file = file
        self._on_chunk = on_chunk
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._objects = json.JSONDecoder()
        self._window = ""
        self._place = 0
        self._is_at_end = False

    def peek(self) -> str:
        """The next character that is not white space; "" at the end of the file."""
        while True:
            while self._place < len(self._window):
                if not self._window[self._place].isspace():
                    return self._window[self._place]
                self._place += 1
            if self._is_at_end:
                return ""
            self._read_on()

    def take(self, characters: str) -> str:
        """Step over the next character, which must be one of some."""
        found = self.peek()
        if not found or found not in characters:
            raise self.fault(" or ".join(characters))
        self._place += 1
        return found

    def take_object(self) -> dict[str, Any]:
        """Step over the next value, which must be an object."""
        if self.peek() != "{":
            raise self.fault("an object {…}")
        while True:
            try:
                record, self._place = self._objects.raw_decode(self._window, self._place)
            except (json.JSONDecodeError, RecursionError) as error:
                is_long = len(self._window) - self._place > _LONGEST_RECORD
                if self._is_at_end or is_long or isinstance(error, RecursionError):
                    raise self.fault("an object {…}") from error
                self._read_on()
            else:
                self.records += 1
                return record

    def fault(self, expected: str) -> ValueError:
        """The error of a text that goes on with anything else."""
        rest = self._window[self._place : self._place + _EXCERPT]
        found = repr(rest) if rest else "the end of the file"
        return ValueError(
            f"{self._path}: expected {expected} after {self.records} records, found {found}. The "
            "file is damaged: unpack it again from the data set's archive"
        )

    def _read_on(self) -> None:
        """Bring the next chunk into the window, and drop what has been stepped over."""
        chunk = self._file.read(CHUNK_BYTES)
        self._is_at_end = not chunk
        try:
            decoded = self._utf8.decode(chunk, final=self._is_at_end)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self._path}: expected UTF-8 after {self.records} records ({error}). The file is "
                "damaged: unpack it again from the data set's archive"
            ) from error
        self._window = self._window[self._place :] + decoded
        self._place = 0
        if chunk and self._on_chunk is not None:
            self._on_chunk()
