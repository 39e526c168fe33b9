"""Files of weights, by PyTorch or safetensors: read without executing code or missing damage."""

import json
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utils.whole_files import write_whole

WEIGHTS = "weights"
"""Key of the weights in a checkpoint of this project."""
SAFETENSORS = ".safetensors"
_FACTS, _CHECKSUMS = "unsocc", "crc32"
"""Keys in the metadata of a safetensors file: JSON of all but the tensors, and of checksums."""
_MISMATCH = "does not match its checksum"
_NO_CHECKPOINTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself: run git lfs pull",
    b"<": "is a web page, not a checkpoint: download the file again",
}
"""What other files begin with, and what to do about them."""
_DAMAGE = (
    *(RuntimeError, EOFError, OSError, LookupError, ValueError),
    *(zipfile.BadZipFile, SafetensorError),
)
"""Errors of reading a damaged file."""


def save_safetensors(weights: Mapping[str, Tensor], facts: Mapping[str, Any], path: Path) -> None:
    """Write weights as safetensors, with checksums.

    Args:
        weights: The weights by name.
        facts: Plain values to store in the metadata as JSON.
        path: The file; written atomically.
    """
    # The format has no views, and no two tensors that share memory.
    tensors = {name: value.contiguous().clone() for name, value in weights.items()}
    sums = {name: _checksum(value) for name, value in tensors.items()}
    metadata = {"format": "pt", _FACTS: json.dumps(facts), _CHECKSUMS: json.dumps(sums)}
    write_whole(path, save(tensors, metadata))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint to the CPU: tensors and plain values only, never code.

    Args:
        path: A file of ``torch.save``, or of safetensors, which is read to ``WEIGHTS``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, is not a checkpoint, or holds other objects.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"checkpoint {path} is a folder: name a file in it")
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} not found; train.py writes model_state_dict.pth and latest.pth"
        )
    _check_kind(path)
    try:
        content = _read_safetensors(path) if path.suffix == SAFETENSORS else _read_archive(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values; it is not loaded, because a "
            f"checkpoint must not run code: {_first_sentence(error)}"
        ) from error
    except _DAMAGE as error:
        size = path.stat().st_size
        raise ValueError(
            f"{path} ({size} bytes) is corrupt or not a checkpoint: {_first_sentence(error)}; "
            "copy it again, or train again"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of weights")
    return content


def first_non_finite(content: Any) -> str | None:
    """Describe the first tensor with NaN or infinite values, at any depth; None if there is none.

    Args:
        content: Tensors in dicts, lists and tuples.
    """
    for name, value in _tensors(content):
        if value.is_floating_point() and not _is_finite(value):
            bad = int((~value.isfinite()).sum())
            return f"{name} has {bad} NaN or infinite values of {value.numel()}"
    return None


def _is_finite(value: Tensor) -> bool:
    """Whether all values are finite, in one pass and without a mask: NaN is its own extreme."""
    return value.numel() == 0 or bool(torch.stack(torch.aminmax(value)).isfinite().all())


def check_finite(content: Any, path: str | Path) -> None:
    """Reject a checkpoint with NaN or infinite values.

    Args:
        content: Tensors of ``path``, in dicts, lists and tuples.
        path: The file, for the message.

    Raises:
        ValueError: If there is such a value.
    """
    bad = first_non_finite(content)
    if bad is not None:
        raise ValueError(
            f"{path}: {bad}: its training diverged, or the file is damaged; use another checkpoint"
        )


def _check_kind(path: Path) -> None:
    """Reject files that stand where a checkpoint should be.

    Raises:
        ValueError: If the file is empty, a pointer of Git LFS, or a web page.
    """
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        raise ValueError(f"{path} is empty: copy it again, or train again")
    for prefix, what in _NO_CHECKPOINTS.items():
        if start.startswith(prefix):
            raise ValueError(f"{path} {what}")


def _read_archive(path: Path) -> Any:
    """Read a file of ``torch.save``, and compare each part with its checksum.

    Raises:
        zipfile.BadZipFile: If a part is damaged.
    """
    damaged = _damaged_member(path)
    _, _, key = (damaged or "").partition("/data/")
    if damaged is not None and not key:
        raise zipfile.BadZipFile(f"{damaged} {_MISMATCH}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if damaged is not None:
        raise zipfile.BadZipFile(f"{_name_of_storage(content, key) or damaged} {_MISMATCH}")
    return content


def _damaged_member(path: Path) -> str | None:
    """Return the first member of an archive that does not match its checksum, if any.

    PyTorch writes checksums but does not compare them. It can also leave them out, as zeros, and
    its oldest files are not archives.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        has_checksums = any(member.CRC for member in archive.infolist())
        return archive.testzip() if has_checksums else None


def _name_of_storage(content: Any, key: str) -> str | None:
    """Name the tensor in the part "data/key" of an archive: parts are numbered as they occur."""
    seen: dict[int, str] = {}
    for name, value in _tensors(content):
        seen.setdefault(value.untyped_storage()._cdata, name)
    names = list(seen.values())
    return names[int(key)] if key.isdecimal() and int(key) < len(names) else None


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read weights, and what ``save_safetensors`` stored with them, if anything.

    Raises:
        SafetensorError: If the file is damaged.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, checksum in json.loads(metadata.get(_CHECKSUMS, "{}")).items():
        if name not in tensors or _checksum(tensors[name]) != checksum:
            raise SafetensorError(f"{name} {_MISMATCH}")
    facts: dict[str, Any] = _with_tuples(json.loads(metadata.get(_FACTS, "{}")))
    return {WEIGHTS: tensors, **facts}


def _checksum(value: Tensor) -> int:
    return zlib.crc32(value.contiguous().flatten().view(torch.uint8).numpy().data)


def _with_tuples(value: Any) -> Any:
    """Turn the lists of JSON into tuples, which is how configs write sequences."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in dicts, lists and tuples by dotted name, in the order of the file."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _tensors(value, f"{name}.{index}")


def _first_sentence(error: Exception) -> str:
    """First sentence of a torch error: the rest is advice, such as to run the file's code."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.partition(". ")[0].rstrip(".")
