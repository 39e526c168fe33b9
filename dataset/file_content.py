"""Content of files, read as bytes, text or JSON, and errors that name the file and its frame."""

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset import layout

COPY_AGAIN = "The file is corrupt: copy it again from its source."


def read_json(path: Path) -> Any:
    """Read JSON text in which no object has a key twice."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise invalid(path, "JSON with each key once", str(error), "Correct the file.") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{repeated}' twice")
    return found


def read_text(path: Path) -> str:
    """Read text in UTF-8, or in UTF-16 if the file begins with its byte-order mark."""
    data = read_bytes(path)
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        advice = "Save it as UTF-8, or as UTF-16 with a byte-order mark."
        raise invalid(path, f"text in {encoding}", str(error), advice) from error


def invalid(path: Path, expected: str, found: str, advice: str) -> ValueError:
    """Return the error of a file that violates its format."""
    return ValueError(f"{file_name(path)}: expected {expected}, found {found}. {advice}")


def file_name(path: Path) -> str:
    """Return the path of a file, with its frame if it is of one."""
    return f"{path} (frame {path.stem})" if _is_of_frame(path) else str(path)


def _is_of_frame(path: Path) -> bool:
    """Return whether a file is named after a frame, unlike poses.txt or calib.json."""
    has_number = any(letter.isdigit() for letter in path.stem)
    return has_number and path.parent.name != layout.IMAGESETS and path.suffix != ".json"


def read_bytes(path: Path) -> bytes:
    """Read all bytes of a file, which must not be empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        advice = "copy it, or remove the frame" if _is_of_frame(path) else "check the path"
        raise FileNotFoundError(f"{file_name(path)} not found: {advice}") from error
    if not data:
        raise invalid(path, "content", "an empty file", COPY_AGAIN)
    return data
