"""Label sets: the names, colours and special ids of each data set's classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

FREE = 0
"""Label of a free voxel in every grid that the network sees."""
IGNORE = 255
"""Label of a voxel or pixel that counts in no loss and no metric."""

GROUND_CLASSES = frozenset({"driveable_surface", "terrain", "muddy", "other_flat", "sidewalk"})


@dataclass(frozen=True)
class LabelSet:
    """The classes of one data set.

    Attributes:
        name: What configs and command lines call it.
        class_names: One name a label, free first.
        colors: RGB of each class, 0–255, same order; the colour of free is never drawn.
        common: The classes left out of the long-tail mean.
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    common: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of labels, free included."""
        return len(self.class_names)

    def index(self, class_name: str) -> int:
        """Label of a class.

        Raises:
            ValueError: If there is no such class.
        """
        if class_name not in self.class_names:
            raise ValueError(f"{self.name} has no class '{class_name}'; it has {self.class_names}")
        return self.class_names.index(class_name)

    @property
    def long_tail(self) -> tuple[int, ...]:
        """Labels that the long-tail mean is taken over: neither free nor common."""
        labels = range(1, self.num_classes)
        return tuple(i for i in labels if self.class_names[i] not in self.common)

    @property
    def ground(self) -> tuple[int, ...]:
        """Labels of what one drives, walks or slides on."""
        names = enumerate(self.class_names)
        return tuple(label for label, name in names if name in GROUND_CLASSES)

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB by label; labels that are no class, 255 among them, are light grey."""
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
"""Labels 1–16 are those of nuScenes' LiDAR segmentation, which all its occupancy benchmarks share.

Occ3D alone labels others, as 0, and free as 17; here the two change places, so that free is 0 as in
every grid of the project (``dataset/nuscenes/labels.py``).
"""

LABEL_SETS = {labels.name: labels for labels in (UNSCENES3D, NUSCENES)}


def label_set(name: str) -> LabelSet:
    """Look a label set up by name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in LABEL_SETS:
        raise ValueError(f"unknown label set '{name}'; known: {sorted(LABEL_SETS)}")
    return LABEL_SETS[name]
