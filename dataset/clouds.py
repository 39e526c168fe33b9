"""Read your own LiDAR point clouds, in the formats that recorders and converters write.

| suffix | content |
| --- | --- |
| ``.bin`` | float32 rows x, y, z, intensity, as in ``clouds/`` and in KITTI |
| ``.pcd.bin`` | float32 rows x, y, z, intensity, ring, as in nuScenes |
| ``.npy`` | array (P, 3), (P, 4) or (P, 5): x, y, z, intensity; a fifth column is ignored |
| ``.pcd`` | PCL's format, ASCII or binary, with fields x, y, z and optionally intensity |
| ``.ply`` | vertices with properties x, y, z and optionally intensity, ASCII or binary |

Rows of ``.pcd`` and ``.ply`` with a non-finite position mark missing points and are dropped.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dataset import formats

SUFFIXES = (".pcd.bin", ".bin", ".npy", ".pcd", ".ply")
"""Longest first: a file name can end with two of them."""
INTENSITY = ("intensity", "reflectance", "reflectivity", "scalar_intensity")
"""Names of the intensity field, in lower case; the first one present is read."""

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_CONVERT = "Convert it, for example with Open3D or CloudCompare."

logger = logging.getLogger(__name__)


def read_any_cloud(path: Path) -> Float32[np.ndarray, "P 4"]:
    """Read LiDAR points: x, y, z [m] and intensity, which is 0 if the file has none.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the format is unknown or the file is corrupt.
    """
    name = path.name.lower()
    if name.endswith(".pcd.bin"):
        return formats.read_cloud(path, columns=5)[:, :4]
    if name.endswith(".bin"):
        return formats.read_cloud(path)
    if not path.is_file():
        raise FileNotFoundError(f"point cloud {path} not found")
    if name.endswith(".npy"):
        return _read_npy(path)
    if name.endswith(".pcd"):
        return _points(path, _read_pcd(path))
    if name.endswith(".ply"):
        return _points(path, _read_ply(path))
    raise ValueError(f"{path}: expected a point cloud with one of the suffixes {SUFFIXES}")


def _read_npy(path: Path) -> Float32[np.ndarray, "P 4"]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes any unknown format for a pickle, and suggests loading it, which runs code.
        found = "another format" if "pickle" in str(error) else str(error)
        raise _error(path, "a numpy array (.npy)", found) from error
    if array.ndim != 2 or array.shape[1] not in (3, 4, 5) or array.dtype.kind not in "iuf":
        raise _error(path, "numbers (P, 3), (P, 4) or (P, 5)", f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise _error(path, "finite numbers", "NaN or infinity", "Remove these rows.")
    names = ("x", "y", "z", INTENSITY[0])
    return _points(path, dict(zip(names, array.T, strict=False)))


def _read_pcd(path: Path) -> dict[str, np.ndarray]:
    """Read the columns of a PCD file by name."""
    header, body = _split(path, b"\nDATA ")
    kind, _, body = body.partition(b"\n")
    lines = [line.split() for line in header.splitlines() if not line.startswith("#")]
    entries = {line[0]: line[1:] for line in lines if line}
    names = entries.get("FIELDS", [])
    counts = entries.get("COUNT", ["1"] * len(names))
    kinds = {"F": "f", "I": "i", "U": "u"}
    try:
        types = [
            f"<{kinds[letter]}{int(size)}"
            for letter, size in zip(entries["TYPE"], entries["SIZE"], strict=True)
        ]
        layout = [
            (name, kind_of, (int(count),))
            for name, kind_of, count in zip(names, types, counts, strict=True)
        ]
        rows = int(entries["POINTS"][0])
    except (KeyError, IndexError, ValueError) as error:
        raise _error(path, "FIELDS, SIZE, TYPE, COUNT and POINTS", str(error)) from error
    if kind.strip() not in (b"ascii", b"binary"):
        form = kind.strip().decode("ascii", "replace")
        raise _error(path, "DATA ascii or binary", form, _CONVERT)
    return _table(path, layout, rows, body, is_text=kind.strip() == b"ascii")


def _read_ply(path: Path) -> dict[str, np.ndarray]:
    """Read the vertex columns of a PLY file by name."""
    header, body = _split(path, b"\nend_header")
    body = body.partition(b"\n")[2]
    lines = [line.split() for line in header.splitlines()]
    form = next((line[1] for line in lines if line[:1] == ["format"] and line[1:]), "no format")
    if lines[:1] != [["ply"]] or form not in _PLY_ORDERS:
        raise _error(path, f"PLY of {sorted(_PLY_ORDERS)}", form)
    first = next((i for i, line in enumerate(lines) if line[:1] == ["element"]), len(lines))
    element = lines[first] if first < len(lines) else []
    if element[1:2] != ["vertex"]:
        raise _error(path, "vertices as the first element", "others", _CONVERT)
    if len(element) != 3 or not element[2].isdecimal():
        raise _error(path, "a number of vertices", f"'{' '.join(element[2:])}'")
    layout: list[tuple[str, str, tuple[int]]] = []
    for line in lines[first + 1 :]:
        if line[:1] == ["element"]:
            break
        if line[:1] == ["property"]:
            if len(line) != 3 or line[1] not in _PLY_TYPES:
                raise _error(path, "numbers as properties of vertices", " ".join(line), _CONVERT)
            layout.append((line[2], _PLY_ORDERS[form] + _PLY_TYPES[line[1]], (1,)))
    return _table(path, layout, int(element[2]), body, is_text=form == "ascii")


def _split(path: Path, mark: bytes) -> tuple[str, bytes]:
    """Split a file into the header text before a mark, and the bytes after it."""
    header, found, body = path.read_bytes().partition(mark)
    if not found:
        raise _error(path, f"a header that ends with '{mark.decode().strip()}'", "none")
    return header.decode("ascii", "replace"), body


def _table(
    path: Path,
    layout: Sequence[tuple[str, str, tuple[int]]],
    rows: int,
    body: bytes,
    *,
    is_text: bool,
) -> dict[str, np.ndarray]:
    """Parse the body into columns by name; of duplicate names, the first one counts."""
    # PCL pads rows with fields that are all named "_".
    row = np.dtype([(f"{i}", *kind) for i, (_, *kind) in enumerate(layout)])
    if is_text:
        words = body.split()
        width = sum(shape[0] for _, _, shape in layout)
        found, expected = len(words), rows * width
    else:
        found, expected = len(body), rows * row.itemsize
    if found < expected or not row.itemsize:
        what = "numbers" if is_text else "bytes"
        raise _error(path, f"{expected} {what} for {rows} points", str(found))
    names = [name.lower() for name, _, _ in layout]
    if not is_text:
        table = np.frombuffer(body, row, count=rows)
        return {name: table[f"{names.index(name)}"][:, 0] for name in names}
    try:
        numbers = np.array(words[:expected], dtype=np.float64).reshape(rows, width)
    except ValueError as error:
        raise _error(path, "numbers", str(error)) from error
    starts = np.cumsum([0, *(shape[0] for _, _, shape in layout)])
    return {name: numbers[:, starts[names.index(name)]] for name in names}


def _points(path: Path, columns: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "P 4"]:
    """Stack x, y, z and intensity of the rows with a finite position."""
    if not {"x", "y", "z"} <= columns.keys():
        raise _error(path, "fields x, y and z", str(sorted(columns)))
    name = next((name for name in INTENSITY if name in columns), None)
    if name is None:
        logger.warning("%s has no intensity (one of %s): it is set to 0", path, INTENSITY)
    intensity = np.zeros(len(columns["x"])) if name is None else columns[name]
    parts = [columns["x"], columns["y"], columns["z"], intensity]
    points = np.column_stack([part.astype(np.float32) for part in parts])
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    if not np.isfinite(points).all():
        raise _error(path, "finite intensities", "NaN or infinity")
    return points


def _error(path: Path, expected: str, found: str, advice: str = "Write it again.") -> ValueError:
    return ValueError(f"{path}: expected {expected}, found {found}. {advice}")
