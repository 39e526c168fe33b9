"""Read your own LiDAR point clouds, in the formats that recorders and converters write.

| suffix | content |
| --- | --- |
| ``.bin`` | float32 rows x, y, z, intensity, as in ``clouds/`` and in KITTI |
| ``.pcd.bin`` | float32 rows x, y, z, intensity 0–255, ring, as in nuScenes |
| ``.npy`` | array (P, 3) to (P, 8): x, y, z, intensity; other columns are ignored |
| ``.pcd`` | PCL's format, ASCII or binary, with fields x, y, z and optionally intensity |
| ``.ply`` | vertices with properties x, y, z and optionally intensity, ASCII or binary |

Rows of ``.pcd`` and ``.ply`` with a non-finite position mark missing points and are dropped.
``calib.json`` can state other columns and number types of ``.bin``, and the unit of the intensity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Num

from dataset import formats
from dataset.cloud_rule import (
    NUSCENES_CLOUD,
    CloudRule,
    impossible_positions,
    intensity_contradiction,
    normalized,
)

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
_STATE = (
    "Correct the file, or columns, dtype and intensity_max in calib.json (docs/custom_data.md)."
)


class StoredCloud(NamedTuple):
    """Points as a file stores them.

    Attributes:
        points: x, y, z [m], and the intensity if the file has one.
        intensity_max: Largest intensity that the file can hold; None: not stated.
    """

    points: Num[np.ndarray, "P C"]
    intensity_max: float | None


def read_any_cloud(path: Path, stated: Mapping[str, Any]) -> Float[np.ndarray, "P 4"]:
    """Read LiDAR points: x, y, z [m], and intensity 0–1; 0 if the file has none.

    The numbers are float64 where the file's are: coordinates can be large, as in UTM.

    Args:
        path: The point cloud.
        stated: What is known about it, by field of ``CloudRule``; ``intensity_max`` is required.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the format is unknown, the file is corrupt, or its numbers contradict what
            is stated.
    """
    return normalized(read_stored_cloud(path, stated).points, stated["intensity_max"])


def read_stored_cloud(path: Path, stated: Mapping[str, Any]) -> StoredCloud:
    """Read LiDAR points as stored.

    Args:
        path: The point cloud.
        stated: What is known about it, by field of ``CloudRule``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the format is unknown, the file is corrupt, or its numbers contradict what
            is stated.
    """
    name = path.name.lower()
    if not path.is_file():
        raise FileNotFoundError(f"point cloud {path} not found")
    if name.endswith(".bin"):
        usual = NUSCENES_CLOUD if name.endswith(".pcd.bin") else CloudRule(None)
        rule = replace(usual, **stated)
        rows = formats.read_cloud_rows(path, rule, advice=_STATE)
        return StoredCloud(rows[:, :4], rule.intensity_max)
    if name.endswith(".npy"):
        cloud = StoredCloud(_read_npy(path), None)
    elif name.endswith(".pcd"):
        cloud = _stored(path, _read_pcd(path))
    elif name.endswith(".ply"):
        cloud = _stored(path, _read_ply(path))
    else:
        raise ValueError(f"{path}: expected a point cloud with one of the suffixes {SUFFIXES}")
    cloud = cloud._replace(intensity_max=stated.get("intensity_max", cloud.intensity_max))
    positions = impossible_positions(cloud.points)
    if positions is not None:
        raise _error(path, "x, y, z in meters", positions, _STATE)
    fault = intensity_contradiction(cloud.points, CloudRule(cloud.intensity_max))
    if fault is not None:
        raise ValueError(f"{path}: {fault}. {_STATE}")
    return cloud


def _read_npy(path: Path) -> Num[np.ndarray, "P C"]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes any unknown format for a pickle, and suggests loading it, which runs code.
        found = "another format" if "pickle" in str(error) else str(error)
        raise _error(path, "a numpy array (.npy)", found) from error
    if array.ndim != 2 or not 3 <= array.shape[1] <= 8 or array.dtype.kind not in "iuf":
        raise _error(path, "numbers (P, 3) to (P, 8)", f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise _error(path, "finite numbers", "NaN or infinity", "Remove these rows.")
    return array[:, :4].astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)


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
            (name, np.dtype(kind_of).str, (int(count),))
            for name, kind_of, count in zip(names, types, counts, strict=True)
        ]
        rows = int(entries["POINTS"][0])
        if min([rows, *(shape[0] for _, _, shape in layout)]) < 0:
            raise ValueError("negative numbers")
    except (KeyError, IndexError, TypeError, ValueError) as error:
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
    """Parse the body into columns by name.

    Of duplicate names, the first one counts; fields of no numbers (COUNT 0) are left out.
    """
    # PCL pads rows with fields that are all named "_".
    layout = [field for field in layout if field[2][0]]
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
    kinds = [np.dtype(kind) for _, kind, _ in layout]
    return {
        name: _in_kind(numbers[:, starts[i]], kinds[i])
        for name, i in ((name, names.index(name)) for name in names)
    }


def _in_kind(numbers: Float64[np.ndarray, " P"], kind: np.dtype) -> Num[np.ndarray, " P"]:
    """Return numbers of a text in the unsigned type that its header states, if they fit."""
    fits = kind.kind == "u" and ((numbers >= 0) & (numbers <= np.iinfo(kind).max)).all()
    return numbers.astype(kind) if fits else numbers


def _stored(path: Path, columns: Mapping[str, np.ndarray]) -> StoredCloud:
    """Stack x, y, z and the intensity of the rows with a finite position."""
    if not {"x", "y", "z"} <= columns.keys():
        raise _error(path, "fields x, y and z", str(sorted(columns)))
    name = next((name for name in INTENSITY if name in columns), None)
    parts = [columns[axis] for axis in ("x", "y", "z", name) if axis is not None]
    is_double = any(part.dtype.itemsize > 4 for part in parts[:3])
    dtype = np.dtype(np.float64 if is_double else np.float32)
    points = np.column_stack([part.astype(dtype) for part in parts])
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    if not np.isfinite(points).all():
        raise _error(path, "finite intensities", "NaN or infinity")
    return StoredCloud(points, None if name is None else _range_of(columns[name]))


def _range_of(intensity: Num[np.ndarray, " P"]) -> float | None:
    """Return the largest intensity of an integer field; None if the type does not state it.

    Larger fields than needed say nothing: many recorders store 0–255 in 16 bits.
    """
    if intensity.dtype.kind != "u" or intensity.dtype.itemsize > 2:
        return None
    largest = float(np.iinfo(intensity.dtype).max)
    return largest if largest == 255 or intensity.max(initial=0) > 255 else None


def _error(path: Path, expected: str, found: str, advice: str = "Write it again.") -> ValueError:
    return ValueError(f"{path}: expected {expected}, found {found}. {advice}")
