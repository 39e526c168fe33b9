"""What a generated data set shall hold, and which scene goes to which split."""

from dataclasses import dataclass

import numpy as np

from dataset.minesim.sensors.rig import Camera

VERSION = 2
"""Of the bytes that a seed gives; raise it whenever they change."""
NUSCENES_FOLDER = "nuscenes"
"""Folder of a data set in nuScenes' layout; those of the benchmarks lie beside it."""
SPLITS = ("train", "val", "test")
STEP_RANGE_M = (0.05, 0.3)
"""How far apart the points may be that labels are made of [m]."""
GROUND_CELL_RANGE_M = (0.2, 2.0)
"""Edge that the ground's triangles on the road may have [m]."""
_SPLIT_STREAM = 3
"""Apart from the streams that make the scenes."""


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate; with the version, it decides every byte.

    Attributes:
        scenes: Number of scenes.
        frames: Labelled frames a scene.
        image_size: Width and height of the pictures [px].
        seed: What everything is drawn from.
        val: Scenes for validation; None for about 15 %.
        test: Scenes for the test; None for about 15 %.
        sweeps: Whether to record an unlabelled frame between labelled ones.
        map_voxel_m: Density of the local maps: one point a cube of this edge [m].
        ground_cell_m: Edge of the ground's triangles on the road [m]; larger ones are faster, and
            enough for small pictures.

    Raises:
        ValueError: If a number makes no sense.
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

    def __post_init__(self) -> None:
        """Refuse what could not be generated."""
        require_counts(self.scenes, self.frames, self.seed)
        require_within("map_voxel_m", self.map_voxel_m, STEP_RANGE_M)
        require_within("ground_cell_m", self.ground_cell_m, GROUND_CELL_RANGE_M)
        Camera(*self.image_size)
        split_counts(self.scenes, self.val, self.test)


def require_counts(scenes: int, frames: int, seed: int) -> None:
    """Refuse numbers that no data set can have.

    Raises:
        ValueError: If there is no scene or no frame, or the seed is negative.
    """
    if scenes < 1 or frames < 1:
        raise ValueError(f"scenes and frames must be at least 1, got {scenes} and {frames}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")


def require_within(name: str, value: int | float, limits: tuple[float, float]) -> None:
    """Refuse a number that is not within limits.

    Args:
        name: What the number is called.
        value: The number.
        limits: The least and the largest that it may be.

    Raises:
        ValueError: If it is beyond them.
    """
    least, largest = limits
    if not least <= value <= largest:
        raise ValueError(f"{name} must be within {least:g}–{largest:g}, got {value}")


def scene_name(number: int) -> str:
    """Key of a scene in ``scene_info.json``."""
    return f"scene_{number:05d}"


def split_counts(scenes: int, val: int | None, test: int | None) -> dict[str, int]:
    """Number of scenes in each split: 70 / 15 / 15 % where not given, none empty from 3 scenes on.

    Raises:
        ValueError: If val and test leave nothing to train on.
    """
    share = max(1, round(0.15 * scenes))
    val_count = (share if scenes >= 2 else 0) if val is None else val
    test_count = (share if scenes >= 3 else 0) if test is None else test
    train = scenes - val_count - test_count
    if min(val_count, test_count) < 0 or train < 1:
        raise ValueError(
            f"{scenes} scenes cannot be split into {val_count} val and {test_count} test scenes "
            "with at least one left to train on"
        )
    return {"train": train, "val": val_count, "test": test_count}


def split_of_scenes(options: GenerateOptions) -> dict[str, tuple[int, ...]]:
    """Numbers of the scenes of each split; the seed decides."""
    counts = split_counts(options.scenes, options.val, options.test)
    rng = np.random.default_rng((options.seed, _SPLIT_STREAM))
    order = rng.permutation(options.scenes)
    ends = np.cumsum([counts[split] for split in SPLITS])
    parts = np.split(order, ends[:-1])
    return {
        split: tuple(sorted(int(number) for number in part))
        for split, part in zip(SPLITS, parts, strict=True)
    }
