"""Label sets: names, colors and special ids of the classes of each data set."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

FREE = 0
"""Label of free voxels, in every grid of the project."""
IGNORE = 255
"""Label of voxels and pixels that no loss and no metric counts."""

GROUND_CLASSES = frozenset(
    {"driveable_surface", "terrain", "muddy", "other_flat", "sidewalk"}
    | {"dirt", "grass", "water", "asphalt", "concrete", "puddle", "mud"}
)


@dataclass(frozen=True)
class LabelSet:
    """The classes of one data set.

    Attributes:
        name: Its name in configs and on the command line.
        class_names: One name per label, free first.
        colors: RGB (0–255) of each class, in the same order; free is never drawn.
        common: Classes that the long-tail mean leaves out.
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    common: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of labels, including free."""
        return len(self.class_names)

    def index(self, class_name: str) -> int:
        """Label of a class.

        Raises:
            ValueError: If the class is unknown.
        """
        if class_name not in self.class_names:
            raise ValueError(f"{self.name} has no class '{class_name}'; it has {self.class_names}")
        return self.class_names.index(class_name)

    @property
    def long_tail(self) -> tuple[int, ...]:
        """Labels of the long-tail mean: neither free nor common."""
        labels = range(1, self.num_classes)
        return tuple(i for i in labels if self.class_names[i] not in self.common)

    @property
    def ground(self) -> tuple[int, ...]:
        """Labels of ground surfaces."""
        names = enumerate(self.class_names)
        return tuple(label for label, name in names if name in GROUND_CLASSES)

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB by label; values that are not a class, such as 255, are light gray."""
        palette = np.full((256, 3), 200, dtype=np.uint8)
        palette[: self.num_classes] = self.colors
        return palette


UNSCENES3D = LabelSet(
    name="unscenes3d",
    class_names=(
        "free",
        "barrier",
        "truck",
        "widebody",
        "car",
        "excavator",
        "machinery",
        "pedestrian",
        "traffic_cone",
        "muddy",
        "terrain",
        "driveable_surface",
    ),
    colors=(
        (255, 255, 255),
        (255, 120, 50),
        (160, 32, 240),
        (255, 192, 203),
        (0, 150, 245),
        (255, 255, 0),
        (0, 255, 255),
        (255, 0, 0),
        (255, 240, 150),
        (139, 137, 137),
        (150, 240, 80),
        (255, 0, 255),
    ),
    common=("terrain", "driveable_surface"),
)

NUSCENES = LabelSet(
    name="nuscenes",
    class_names=(
        "free",
        "barrier",
        "bicycle",
        "bus",
        "car",
        "construction_vehicle",
        "motorcycle",
        "pedestrian",
        "traffic_cone",
        "trailer",
        "truck",
        "driveable_surface",
        "other_flat",
        "sidewalk",
        "terrain",
        "manmade",
        "vegetation",
        "others",
    ),
    colors=(
        (255, 255, 255),
        (255, 120, 50),
        (255, 192, 203),
        (255, 255, 0),
        (0, 150, 245),
        (0, 255, 255),
        (255, 127, 0),
        (255, 0, 0),
        (255, 240, 150),
        (135, 60, 0),
        (160, 32, 240),
        (255, 0, 255),
        (139, 137, 137),
        (75, 0, 75),
        (150, 240, 80),
        (230, 230, 250),
        (0, 175, 0),
        (0, 0, 0),
    ),
)
"""Labels 1–16 are those of nuScenes LiDAR segmentation, which its occupancy benchmarks share.

Only Occ3D labels "others" (as 0), and it labels free as 17. Here the two are swapped, so that free
is 0 as in every grid of the project (``dataset/nuscenes/labels.py``).
"""

RELLIS3D = LabelSet(
    name="rellis3d",
    class_names=(
        "free",
        "dirt",
        "grass",
        "tree",
        "pole",
        "water",
        "vehicle",
        "object",
        "asphalt",
        "building",
        "log",
        "person",
        "fence",
        "bush",
        "concrete",
        "barrier",
        "puddle",
        "mud",
        "rubble",
    ),
    colors=(
        (255, 255, 255),
        (108, 64, 20),
        (0, 102, 0),
        (0, 255, 0),
        (0, 153, 153),
        (0, 128, 255),
        (255, 255, 0),
        (255, 0, 127),
        (64, 64, 64),
        (255, 0, 0),
        (102, 0, 0),
        (204, 153, 255),
        (102, 0, 204),
        (255, 153, 204),
        (170, 170, 170),
        (41, 121, 255),
        (134, 255, 239),
        (99, 66, 34),
        (110, 22, 138),
    ),
    common=("grass", "tree", "bush"),
)
"""The classes and colors of RELLIS-3D, without sky and void.

``dataset/rellis3d/classes.py`` has the ids in its files.
"""

_WILDOCC = ("grass", "tree", "bush", "puddle", "mud", "barrier", "rubble")
WILDOCC = LabelSet(
    name="wildocc",
    class_names=("free", *_WILDOCC, "others"),
    colors=(
        RELLIS3D.colors[FREE],
        *(RELLIS3D.colors[RELLIS3D.index(name)] for name in _WILDOCC),
        (0, 0, 0),
    ),
    common=RELLIS3D.common,
)
"""The seven classes that are scored on WildOcc, with its label 0, "others", in last place."""

LABEL_SETS = {labels.name: labels for labels in (UNSCENES3D, NUSCENES, RELLIS3D, WILDOCC)}


def label_set(name: str) -> LabelSet:
    """Look up a label set by name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in LABEL_SETS:
        raise ValueError(f"unknown label set '{name}'; known: {sorted(LABEL_SETS)}")
    return LABEL_SETS[name]
