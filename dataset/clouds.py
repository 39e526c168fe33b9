"""Reads LiDAR clouds of one's own, in the formats that recorders and converters write.

| ending | what it holds |
| --- | --- |
| ``.bin`` | float32 rows x, y, z, intensity, as in ``clouds/`` and in KITTI |
| ``.pcd.bin`` | float32 rows x, y, z, intensity, ring, as in nuScenes |
| ``.npy`` | an array (P, 3), (P, 4) or (P, 5): x, y, z, intensity, and what is not read |
| ``.pcd`` | PCL's format, ASCII or binary, with fields x, y, z and perhaps intensity |
| ``.ply`` | vertices with properties x, y, z and perhaps intensity, ASCII or binary |

Of ``.pcd`` and ``.ply`` the rows whose position is not finite are no returns, and are left out.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dataset import formats

SUFFIXES = (".pcd.bin", ".bin", ".npy", ".pcd", ".ply")
"""Longest first, for a name may end in two of them."""
INTENSITY = ("intensity", "reflectance", "reflectivity", "scalar_intensity")
"""Fields that hold the intensity, in lower case, the first that is there."""

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
    """Returns of a LiDAR: x, y, z [m], and intensity, 0 where the file has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind, or is damaged.
    """
    name = path.name.lower()
    if name.endswith(".pcd.bin"):
        return formats.read_cloud(path, columns=5)[:, :4]
    if name.endswith(".bin"):
        return formats.read_cloud(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no cloud {path}")
    if name.endswith(".npy"):
        return _read_npy(path)
    if name.endswith(".pcd"):
        return _points(path, _read_pcd(path))
    if name.endswith(".ply"):
        return _points(path, _read_ply(path))
    raise ValueError(f"{path}: clouds end in one of {SUFFIXES}, got '{path.suffix}'")


def _read_npy(path: Path) -> Float32[np.ndarray, "P 4"]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes what it does not know for a pickle, and advises to run its code.
        found = "another file" if "pickle" in str(error) else str(error)
        raise _fault(path, "an array of numpy (.npy)", found) from error
    if array.ndim != 2 or array.shape[1] not in (3, 4, 5) or array.dtype.kind not in "iuf":
        raise _fault(path, "numbers (P, 3), (P, 4) or (P, 5)", f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise _fault(path, "finite numbers", "some that are not", "Leave such rows out.")
    names = ("x", "y", "z", INTENSITY[0])
    return _points(path, dict(zip(names, array.T, strict=False)))  # The rest is not read.


def _read_pcd(path: Path) -> dict[str, np.ndarray]:
    """The columns of a PCD file by their names."""
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
        raise _fault(path, "FIELDS, SIZE, TYPE, COUNT and POINTS", str(error)) from error
    if kind.strip() not in (b"ascii", b"binary"):
        form = kind.strip().decode("ascii", "replace")
        raise _fault(path, "DATA ascii or binary", form, _CONVERT)
    return _table(path, layout, rows, body, is_text=kind.strip() == b"ascii")


def _read_ply(path: Path) -> dict[str, np.ndarray]:
    """The columns of the vertices of a PLY file by their names."""
    header, body = _split(path, b"\nend_header")
    body = body.partition(b"\n")[2]
    lines = [line.split() for line in header.splitlines()]
    form = next((line[1] for line in lines if line[:1] == ["format"] and line[1:]), "no format")
    if lines[:1] != [["ply"]] or form not in _PLY_ORDERS:
        raise _fault(path, f"PLY of {sorted(_PLY_ORDERS)}", form)
    first = next((i for i, line in enumerate(lines) if line[:1] == ["element"]), len(lines))
    element = lines[first] if first < len(lines) else []
    if element[1:2] != ["vertex"]:
        raise _fault(path, "vertices as the first element", "others", _CONVERT)
    if len(element) != 3 or not element[2].isdecimal():
        raise _fault(path, "a number of vertices", f"'{' '.join(element[2:])}'")
    layout: list[tuple[str, str, tuple[int]]] = []
    for line in lines[first + 1 :]:
        if line[:1] == ["element"]:
            break
        if line[:1] == ["property"]:
            if len(line) != 3 or line[1] not in _PLY_TYPES:
                raise _fault(path, "numbers as properties of vertices", " ".join(line), _CONVERT)
            layout.append((line[2], _PLY_ORDERS[form] + _PLY_TYPES[line[1]], (1,)))
    return _table(path, layout, int(element[2]), body, is_text=form == "ascii")


def _split(path: Path, mark: bytes) -> tuple[str, bytes]:
    """The text before a mark, and what follows it."""
    header, found, body = path.read_bytes().partition(mark)
    if not found:
        raise _fault(path, f"a header that ends in '{mark.decode().strip()}'", "none")
    return header.decode("ascii", "replace"), body


def _table(
    path: Path,
    layout: Sequence[tuple[str, str, tuple[int]]],
    rows: int,
    body: bytes,
    *,
    is_text: bool,
) -> dict[str, np.ndarray]:
    """Rows of a body as columns by name; a name that comes twice is its first."""
    # Padding of PCL is several fields of the name "_".
    row = np.dtype([(f"{i}", *kind) for i, (_, *kind) in enumerate(layout)])
    if is_text:
        words = body.split()
        width = sum(shape[0] for _, _, shape in layout)
        found, expected = len(words), rows * width
    else:
        found, expected = len(body), rows * row.itemsize
    if found < expected or not row.itemsize:
        what = "numbers" if is_text else "bytes"
        raise _fault(path, f"{expected} {what} for {rows} points", str(found))
    names = [name.lower() for name, _, _ in layout]
    if not is_text:
        table = np.frombuffer(body, row, count=rows)
        return {name: table[f"{names.index(name)}"][:, 0] for name in names}
    try:
        numbers = np.array(words[:expected], dtype=np.float64).reshape(rows, width)
    except ValueError as error:
        raise _fault(path, "numbers", str(error)) from error
    starts = np.cumsum([0, *(shape[0] for _, _, shape in layout)])
    return {name: numbers[:, starts[names.index(name)]] for name in names}


def _points(path: Path, columns: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "P 4"]:
    """x, y, z and intensity of the rows with a position."""
    if not {"x", "y", "z"} <= columns.keys():
        raise _fault(path, "fields x, y and z", str(sorted(columns)))
    name = next((name for name in INTENSITY if name in columns), None)
    if name is None:
        logger.warning("%s has no intensity, of %s: the network gets 0", path, INTENSITY)
    intensity = np.zeros(len(columns["x"])) if name is None else columns[name]
    parts = [columns["x"], columns["y"], columns["z"], intensity]
    points = np.column_stack([part.astype(np.float32) for part in parts])
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    if not np.isfinite(points).all():
        raise _fault(path, "finite intensities", "some that are not")
    return points


def _fault(path: Path, expected: str, found: str, advice: str = "Write it again.") -> ValueError:
    return ValueError(f"{path}: expected {expected}, found {found}. {advice}")
