"""Options of a generated data set, and the assignment of scenes to splits."""

from dataclasses import dataclass, field

import numpy as np

from dataset.minesim.sensors.rig import Camera
from dataset.minesim.write.variation import Variation

VERSION = 4
"""Version of the output; increase it whenever a seed gives different bytes."""
NUSCENES_FOLDER = "nuscenes"
"""Folder of a data set in the nuScenes layout, next to those of the benchmarks."""
SPLITS = ("train", "val", "test")
STEP_RANGE_M = (0.05, 0.3)
"""Range of the spacing of the points that labels are made from [m]."""
GROUND_CELL_RANGE_M = (0.2, 2.0)
"""Range of the edge of the ground triangles on the road [m]."""
_SPLIT_STREAM = 3
"""Separate from the streams that generate the scenes."""


@dataclass(frozen=True)
class GenerateOptions:
    """Options of a data set; together with the version, they determine every byte.

    Attributes:
        scenes: Number of scenes.
        frames: Labeled frames per scene.
        image_size: Width and height of the images [px].
        seed: Random seed.
        val: Number of validation scenes; None for about 15 %.
        test: Number of test scenes; None for about 15 %.
        sweeps: Whether to record an unlabeled frame between labeled ones.
        map_voxel_m: Voxel size of the accumulated map, which keeps one point per voxel [m].
        ground_cell_m: Edge of the ground triangles on the road [m]; larger ones are faster and good
            enough for small images.

    Raises:
        ValueError: If an option is out of range.
    """

    scenes: int
    frames: int
    image_size: tuple[int, int] = (1920, 1200)
    seed: int = 0
    val: int | None = None
    test: int | None = None
    sweeps: bool = True
    map_voxel_m: float = 0.1
    ground_cell_m: float = 0.4
    variation: Variation = field(default_factory=Variation)

    def __post_init__(self) -> None:
        """Validate the options."""
        require_counts(self.scenes, self.frames, self.seed)
        require_within("map_voxel_m", self.map_voxel_m, STEP_RANGE_M)
        require_within("ground_cell_m", self.ground_cell_m, GROUND_CELL_RANGE_M)
        Camera(*self.image_size)
        split_counts(self.scenes, self.val, self.test)


def require_counts(scenes: int, frames: int, seed: int) -> None:
    """Validate the number of scenes and frames, and the seed.

    Raises:
        ValueError: If there are no scenes or frames, or the seed is negative.
    """
    if scenes < 1 or frames < 1:
        raise ValueError(f"scenes and frames must be at least 1, got {scenes} and {frames}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")


def require_within(name: str, value: int | float, limits: tuple[float, float]) -> None:
    """Require a value within limits.

    Args:
        name: Name of the value in the error message.
        value: The value.
        limits: Its minimum and maximum.

    Raises:
        ValueError: If the value is out of range.
    """
    least, largest = limits
    if not least <= value <= largest:
        raise ValueError(f"{name} must be between {least:g} and {largest:g}, got {value}")


def scene_name(number: int) -> str:
    """Return the key of a scene in ``scene_info.json``."""
    return f"scene_{number:05d}"


def split_counts(scenes: int, val: int | None, test: int | None) -> dict[str, int]:
    """Return the scene count per split: 70 / 15 / 15 % by default, none empty from 3 scenes up.

    Raises:
        ValueError: If ``val`` and ``test`` leave no scene for training.
    """
    share = max(1, round(0.15 * scenes))
    val_count = (share if scenes >= 2 else 0) if val is None else val
    test_count = (share if scenes >= 3 else 0) if test is None else test
    train = scenes - val_count - test_count
    if min(val_count, test_count) < 0 or train < 1:
        raise ValueError(
            f"{scenes} scenes cannot be split into {val_count} val and {test_count} test scenes "
            "and at least one train scene"
        )
    return {"train": train, "val": val_count, "test": test_count}


def split_of_scenes(options: GenerateOptions) -> dict[str, tuple[int, ...]]:
    """Assign the scenes to splits at random."""
    counts = split_counts(options.scenes, options.val, options.test)
    rng = np.random.default_rng((options.seed, _SPLIT_STREAM))
    order = rng.permutation(options.scenes)
    ends = np.cumsum([counts[split] for split in SPLITS])
    parts = np.split(order, ends[:-1])
    return {
        split: tuple(sorted(int(number) for number in part))
        for split, part in zip(SPLITS, parts, strict=True)
    }
