"""Options of a data set in the nuScenes layout, and the names of its scenes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataset.minesim.write.nuscenes.rig import COLUMNS, REFERENCE_SIZE, RigCamera
from dataset.minesim.write.plan import (
    GROUND_CELL_RANGE_M,
    STEP_RANGE_M,
    require_counts,
    require_within,
)
from dataset.minesim.write.schedule import FIRST_STAMP_S, SCENE_SPACING_S
from dataset.nuscenes.splits import official_scenes

SPLITS = ("train", "val")
SAMPLE_PERIOD_US = 500_000
"""Time between samples [µs]."""
LEAD_S = 4.0
"""Drive before the first sample, so that the car has scenery behind it too [s]."""

_TAIL_S = 0.2
_CLOCK_JITTER_US = 2_000
_VERSIONS = ("v1.0-mini", "v1.0-trainval")
"""The smaller version is used if it has enough scenes."""


@dataclass(frozen=True)
class NuScenesOptions:
    """Options of a data set; together with the version, they determine every byte.

    Attributes:
        scenes: Number of scenes.
        frames: Samples (key frames) per scene, at 2 Hz.
        image_size: Width and height of the images [px].
        seed: Random seed.
        val: Number of validation scenes; None for a fifth, as in v1.0-mini.
        sweeps: LiDAR sweeps between consecutive samples; 9 give 20 Hz.
        lidar_columns: Azimuth steps per turn of the 32-beam LiDAR.
        surface_step_m: Spacing of the surface points that mark voxels as occupied [m].
        ground_cell_m: Edge of the ground triangles on the road [m]; larger ones are faster and good
            enough for small images.

    Raises:
        ValueError: If an option is out of range.
    """

    scenes: int
    frames: int
    image_size: tuple[int, int] = REFERENCE_SIZE
    seed: int = 0
    val: int | None = None
    sweeps: int = 9
    lidar_columns: int = COLUMNS
    surface_step_m: float = 0.1
    ground_cell_m: float = 0.4

    def __post_init__(self) -> None:
        """Validate the options."""
        require_counts(self.scenes, self.frames, self.seed)
        require_within("sweeps", self.sweeps, (0.0, 9.0))
        if self.lidar_columns < 1:
            raise ValueError(f"lidar_columns must be at least 1, got {self.lidar_columns}")
        require_within("surface_step_m", self.surface_step_m, STEP_RANGE_M)
        require_within("ground_cell_m", self.ground_cell_m, GROUND_CELL_RANGE_M)
        RigCamera("CAM_FRONT", *self.image_size)
        plan_scenes(self)


@dataclass(frozen=True)
class ScenePlan:
    """Scenes of a data set.

    Attributes:
        version: Folder name of the tables.
        names: Scene names by number, grouped by split.
        splits: Scene names of each split.
    """

    version: str
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]


def plan_scenes(options: NuScenesOptions) -> ScenePlan:
    """Choose official scene names that belong to the intended splits.

    Raises:
        ValueError: If ``val`` leaves no scene for training, or there are not enough names.
    """
    val = options.val
    if val is None:
        val = max(1, round(0.2 * options.scenes)) if options.scenes > 1 else 0
    counts = {"train": options.scenes - val, "val": val}
    if val < 0 or counts["train"] < 1:
        raise ValueError(
            f"{options.scenes} scenes cannot be split into {val} val scenes and at least one train "
            "scene"
        )
    for version in _VERSIONS:
        official = {split: official_scenes(version, split) for split in SPLITS}
        if all(counts[split] <= len(official[split]) for split in SPLITS):
            splits = {split: official[split][: counts[split]] for split in SPLITS}
            return ScenePlan(version, splits["train"] + splits["val"], splits)
    most = {split: len(official[split]) for split in SPLITS}
    raise ValueError(f"nuScenes has {most} scenes, got {counts}")


def drive_seconds(frames: int) -> float:
    """Return the duration of a drive that holds ``frames`` samples [s]."""
    return LEAD_S + (frames - 1) * SAMPLE_PERIOD_US * 1e-6 + _TAIL_S


def sample_times_us(frames: int, scene: int, rng: np.random.Generator) -> Int64[np.ndarray, "S"]:
    """Return the LiDAR time of each sample [µs].

    Args:
        frames: Number of samples.
        scene: Number of the scene, which sets the date.
        rng: Draws the start within the hour and the clock jitter.
    """
    begin = round((FIRST_STAMP_S + scene * SCENE_SPACING_S + rng.uniform(0.0, 60.0)) * 1e6)
    jitter = rng.integers(-_CLOCK_JITTER_US, _CLOCK_JITTER_US, size=frames, endpoint=True)
    return begin + SAMPLE_PERIOD_US * np.arange(frames) + jitter


def sweep_times_us(times_us: Int64[np.ndarray, "S"], sweeps: int) -> list[tuple[int, int, bool]]:
    """Return all LiDAR recordings in order of time.

    Args:
        times_us: Time of each sample [µs].
        sweeps: Sweeps between consecutive samples.

    Returns:
        Sample that each recording belongs to (for sweeps, the next sample), its time [µs], and
        whether it is a key frame.
    """
    found = [(0, int(times_us[0]), True)]
    for sample in range(1, len(times_us)):
        between = np.linspace(times_us[sample - 1], times_us[sample], sweeps + 2)[1:-1]
        found += [(sample, round(float(time)), False) for time in between]
        found.append((sample, int(times_us[sample]), True))
    return found
