"""Which class of a source becomes which class of a label set: a JSON file with a table per source.

    {"about": "what the sources are",
     "point_labels": {"10": "car", "1": "drop", "0": "unknown"},
     "moving": ["252"],
     "boxes": {"Car": "car"},
     "masks": {"0": "driveable_surface"}}

Points of the class "unknown" get one from the next source or the geometry; those of "drop" are
removed. ``moving`` lists the point labels of things that move.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from dataset.file_content import read_json
from utils.labels import FREE, UNSCENES3D, LabelSet

UNKNOWN = 0
DROP = 254
_TABLES = ("point_labels", "boxes", "masks")


@dataclass(frozen=True)
class ClassMapping:
    """Classes by source class; ``UNKNOWN`` and ``DROP`` besides.

    Attributes:
        path: Where it was read; None for the numbers that a data set has of its own.
        point_labels: By number of a point label.
        moving: Point labels of things that move.
        boxes: By name of a box's class.
        masks: By value of a mask's pixel.
    """

    path: Path | None
    point_labels: Mapping[int, int] = field(default_factory=dict)
    moving: frozenset[int] = frozenset()
    boxes: Mapping[str, int] = field(default_factory=dict)
    masks: Mapping[int, int] = field(default_factory=dict)

    def of_points(
        self, source: Integer[np.ndarray, " P"], file: Path
    ) -> tuple[UInt8[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
        """Return the class of point labels, and whether they move.

        Raises:
            ValueError: If a label has no entry.
        """
        label = _looked_up(self.point_labels, source, file, self.path, "point_labels")
        return label, np.isin(source, list(self.moving))

    def of_masks(self, source: Integer[np.ndarray, " P"], file: Path) -> UInt8[np.ndarray, " P"]:
        """Return the class of mask pixels.

        Raises:
            ValueError: If a value has no entry.
        """
        return _looked_up(self.masks, source, file, self.path, "masks")

    def of_box(self, name: str, file: Path) -> int:
        """Return the class of a box.

        Raises:
            ValueError: If its class has no entry.
        """
        if name not in self.boxes:
            raise ValueError(_unlisted(file, repr(name), self.path, "boxes", self.boxes))
        return self.boxes[name]


def read_mapping(path: Path, labels: LabelSet = UNSCENES3D) -> ClassMapping:
    """Read a mapping.

    Args:
        path: The file.
        labels: The label set whose classes it names.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is invalid.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not set(content) <= {"about", "moving", *_TABLES}:
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{path}: expected an object with about, moving and {', '.join(_TABLES)}, found {found}"
        )
    words = {"unknown": UNKNOWN, "drop": DROP}
    words |= {name: labels.index(name) for name in labels.class_names[FREE + 1 :]}
    points, boxes, masks = (_table(path, content, name, words) for name in _TABLES)
    moving = content.get("moving", [])
    return ClassMapping(
        path,
        _by_number(path, points, "point_labels"),
        frozenset(_by_number(path, dict.fromkeys(map(str, moving), 0), "moving")),
        boxes,
        _by_number(path, masks, "masks"),
    )


def _table(
    path: Path, content: Mapping[str, Any], name: str, words: Mapping[str, int]
) -> dict[str, int]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected an object as '{name}', found {type(table).__name__}")
    for source, word in table.items():
        if word not in words:
            raise ValueError(
                f"{path}: expected one of {', '.join(words)} for '{source}' in '{name}', found "
                f"{word!r}"
            )
    return {source: words[word] for source, word in table.items()}


def _by_number(path: Path, table: Mapping[str, int], name: str) -> dict[int, int]:
    wrong = [source for source in table if not source.isdecimal()]
    if wrong:
        raise ValueError(f"{path}: expected numbers as keys of '{name}', found '{wrong[0]}'")
    return {int(source): label for source, label in table.items()}


def _looked_up(
    table: Mapping[int, int],
    source: Integer[np.ndarray, " P"],
    file: Path,
    mapping: Path | None,
    name: str,
) -> UInt8[np.ndarray, " P"]:
    values, number = np.unique(source, return_inverse=True)
    unlisted = [int(value) for value in values if int(value) not in table]
    if unlisted:
        raise ValueError(_unlisted(file, str(unlisted[0]), mapping, name, table))
    found = np.array([table[int(value)] for value in values], np.uint8)
    return found[number] if len(values) else np.zeros(0, np.uint8)


def _unlisted(
    file: Path, found: str, mapping: Path | None, name: str, table: Iterable[int | str]
) -> str:
    known = ", ".join(map(str, table)) or "none"
    if mapping is None:
        return (
            f"{file}: expected the classes of the data set ({known}), found {found}: state what "
            "its numbers mean with model.loss.label_free.point_mapping"
        )
    return (
        f"{file}: expected classes that '{name}' of {mapping} lists ({known}), found {found}: add "
        "it to that file"
    )
