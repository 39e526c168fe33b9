"""Frame schedule: the sensor clock, labeled samples and the sweeps between them."""

from dataclasses import dataclass

import numpy as np

from dataset.minesim.scene.drive import RATE_HZ

FIRST_STAMP_S = 1_689_903_584.278848
SCENE_SPACING_S = 3600.0
"""Time between the starts of scenes: one hour, so that no two frames share a stem."""
SAMPLE_STEPS = (5, 6, 7)
"""Ticks of the 10 Hz clock between consecutive samples."""
CLOCK_JITTER_S = 0.002

_LEAD_TICKS = 15
"""Drive before the first frame, so that the ground below the vehicle has been scanned."""
_TAIL_TICKS = 60
"""Drive after the last frame, so that its labels are as dense as those of other frames."""


@dataclass(frozen=True)
class Frame:
    """One recorded frame.

    Attributes:
        tick: Index into the drive's poses.
        stem: Timestamp on the recording clock [s], as text.
        is_sample: Whether it is labeled.
    """

    tick: int
    stem: str
    is_sample: bool


def drive_seconds(frames: int) -> float:
    """Return the duration of a drive long enough for ``frames`` labeled frames [s]."""
    return (_LEAD_TICKS + max(SAMPLE_STEPS) * (frames - 1) + _TAIL_TICKS) / RATE_HZ


def plan_frames(
    frames: int, scene: int, rng: np.random.Generator, *, sweeps: bool
) -> tuple[Frame, ...]:
    """Choose the frames of a scene, in order of time.

    Args:
        frames: Number of labeled frames; must be positive.
        scene: Number of the scene, which sets the date.
        rng: Draws the steps and the clock jitter.
        sweeps: Whether to record an unlabeled frame halfway between labeled ones.

    Raises:
        ValueError: If ``frames`` is not positive.
    """
    if frames < 1:
        raise ValueError(f"a scene needs at least one frame, got {frames}")
    steps = rng.choice(SAMPLE_STEPS, size=frames - 1)
    samples = _LEAD_TICKS + np.concatenate([[0], np.cumsum(steps)]).astype(int)
    between = (samples[:-1] + samples[1:]) // 2
    start = FIRST_STAMP_S + scene * SCENE_SPACING_S + rng.uniform(0.0, 60.0)
    # Drawn for every tick, so that samples have the same stems with or without sweeps.
    jitter = rng.uniform(-CLOCK_JITTER_S, CLOCK_JITTER_S, size=samples[-1] + 1)
    ticks = {int(tick): True for tick in samples}
    if sweeps:
        ticks |= {int(tick): False for tick in between}
    return tuple(
        Frame(tick, f"{start + tick / RATE_HZ + jitter[tick]:.6f}", is_sample)
        for tick, is_sample in sorted(ticks.items())
    )
