"""The class ids in the files of RELLIS-3D and WildOcc, and what they become.

| label set | free | classes | unknown |
| --- | --- | --- | --- |
| "rellis3d" | 0 | 1–18, without sky and void | void and sky → 255, ignored |
| "wildocc" | 0 | 1–7, the scored classes | all others, void too → 8, others |
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer, UInt8

from dataset.class_mapping import DROP, UNKNOWN
from utils.labels import FREE, IGNORE, RELLIS3D, WILDOCC, LabelSet

VOID, SKY = 0, 7
RELLIS_IDS = {
    VOID: "void",
    1: "dirt",
    3: "grass",
    4: "tree",
    5: "pole",
    6: "water",
    SKY: "sky",
    8: "vehicle",
    9: "object",
    10: "asphalt",
    12: "building",
    15: "log",
    17: "person",
    18: "fence",
    19: "bush",
    23: "concrete",
    27: "barrier",
    29: "grass",
    30: "grass",
    31: "puddle",
    32: "water",
    33: "mud",
    34: "rubble",
}
"""Ids of point labels and image labels; the latter also have 29, 30 and 32."""
BENCHMARK_IDS = {VOID: "void"} | dict(enumerate(WILDOCC.class_names[1:-1], start=1))
"""Ids of the scored classes as GaussianFormer3D numbers them; 0 is any other class."""
IDS = {"rellis": RELLIS_IDS, "benchmark": BENCHMARK_IDS}
"""What the numbers in occupancy labels can mean, by name."""

POINT_SHARES = {
    "grass": 0.4538,
    "bush": 0.2934,
    "tree": 0.1863,
    "concrete": 0.01903,
    "person": 0.01847,
    "mud": 0.01008,
    "barrier": 0.00609,
    "rubble": 0.0059,
    "fence": 0.00276,
    "puddle": 0.0026,
    "log": 0.00096,
    "water": 0.00039,
    "vehicle": 0.00019,
    "pole": 0.00004,
}
"""Share of each class in the labeled Ouster points of the training list, as published with
RELLIS-3D; it is below 0.00001 for the others."""


def names_of(ids: str, more: Sequence[tuple[int, str]] = ()) -> dict[int, str]:
    """Return the class of each id.

    Args:
        ids: A key of ``IDS``.
        more: Further ids, each with the name of a class of RELLIS-3D or "void".

    Raises:
        ValueError: If a name is unknown.
    """
    if ids not in IDS:
        raise ValueError(f"labels_ids must be one of {sorted(IDS)}, got '{ids}'")
    known = set(RELLIS_IDS.values())
    for number, name in more:
        if name not in known:
            raise ValueError(f"labels_more_ids: ({number}, '{name}') must name one of {known}")
    return IDS[ids] | dict(more)


def label_table(names: Mapping[int, str], labels: LabelSet) -> UInt8[np.ndarray, " ids"]:
    """Return the label of each id from 0 to the largest, 255 for those that are ignored.

    Args:
        names: Class of each id.
        labels: RELLIS3D or WILDOCC.
    """
    table = np.full(max(names) + 1, IGNORE, np.uint8)
    for number, name in names.items():
        table[number] = label_of(name, labels)
    return table


def point_classes(labels: LabelSet) -> dict[int, int]:
    """Return the label of each id of point labels.

    Args:
        labels: RELLIS3D or WILDOCC.
    """
    known = {number: label_of(name, labels) for number, name in RELLIS_IDS.items()}
    return known | {VOID: UNKNOWN, SKY: DROP}


def label_of(name: str, labels: LabelSet) -> int:
    """Return the label of a class of RELLIS-3D in a label set; 255 if it is ignored there."""
    if name in labels.class_names:
        return labels.index(name)
    return labels.index("others") if "others" in labels.class_names else IGNORE


def benchmark_labels(
    labels: Integer[np.ndarray, "*any"], source: LabelSet
) -> UInt8[np.ndarray, "*any"]:
    """Convert predictions, which are never 255, to the label set "wildocc".

    Args:
        labels: Labels of ``source``.
        source: RELLIS3D or WILDOCC.
    """
    names = source.class_names[FREE + 1 :]
    table = np.array([FREE, *(label_of(name, WILDOCC) for name in names)], np.uint8)
    return table[labels]


LABEL_SETS = (RELLIS3D, WILDOCC)
"""Label sets of the data set, the default first."""
