"""How far estimated poses can be trusted: overlap of neighboring clouds, and plausible motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from dataset.odometry.surfaces import thinned, voxel_keys
from dataset.odometry.sweeps import rotation_vectors
from utils.shortlist import shortlist

OVERLAP_M = 0.2
"""A point overlaps if the other cloud has one in its voxel of this size, or an adjacent one."""
OVERLAP_RANGE_M = 30.0
"""Farther points are too sparse to compare."""
MAX_SPEED_MPS = 50.0
MAX_TURN_DPS = 120.0
MAX_ACCELERATION_MPS2 = 30.0
SPEED_TOLERANCE = 0.2
"""Share of the speed that may change at once, as stamps are not exact."""
_SOURCE_VOXEL_M = 0.5
_COLUMN_M = 2.0
_GROUND_M = 0.5
"""Points less above the lowest one of their column, of this width, may be ground."""


@dataclass(frozen=True)
class PairQuality:
    """Measures between each frame and the next.

    Attributes:
        overlap: Share of the points that the next cloud confirms, see ``OVERLAP_M``.
        residual_m: Median distance of points from the surfaces of the next cloud; NaN: no surface.
    """

    overlap: Float64[np.ndarray, " p"]
    residual_m: Float64[np.ndarray, " p"]


class _Check(NamedTuple):
    """A measure of each step, which must not exceed a bound.

    Attributes:
        rule: What is expected, up to the bound.
        form: Format of a value.
        values: The measure; larger is worse.
        bound: The largest that is allowed; both are negative where larger is better.
    """

    rule: str
    form: str
    values: Float64[np.ndarray, " p"]
    bound: float


def overlap(
    points: Float64[np.ndarray, "p 3"],
    other: Float64[np.ndarray, "q 3"],
    here_from_other: Float64[np.ndarray, "4 4"],
) -> float:
    """Return the share of points that another cloud confirms, see ``OVERLAP_M``.

    Only points above the ground and within ``OVERLAP_RANGE_M`` count, one per voxel; 0 without any.
    Rings on flat ground look the same wherever the vehicle is.
    """
    near = points[np.linalg.norm(points, axis=1) < OVERLAP_RANGE_M]
    near = near[_is_upright(near)]
    near = near[thinned(near, _SOURCE_VOXEL_M)]
    moved = other @ here_from_other[:3, :3].T + here_from_other[:3, 3]
    moved = moved[np.linalg.norm(moved, axis=1) < OVERLAP_RANGE_M + 2 * OVERLAP_M]
    if not len(near):
        return 0.0
    occupied = np.unique(voxel_keys(moved, OVERLAP_M))
    around = near[:, None] + OVERLAP_M * np.array(list(product((-1, 0, 1), repeat=3)))
    keys = voxel_keys(around.reshape(-1, 3), OVERLAP_M).reshape(-1, 27)
    return float(np.isin(keys, occupied).any(axis=1).mean())


def _is_upright(points: Float64[np.ndarray, "p 3"]) -> Bool[np.ndarray, " p"]:
    """Return which points are clearly above the lowest one of their column."""
    flat = points * (1.0, 1.0, 0.0)
    _, column = np.unique(voxel_keys(flat, _COLUMN_M), return_inverse=True)
    lowest = np.full(column.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, column, points[:, 2])
    return points[:, 2] > lowest[column] + _GROUND_M


def implausible(
    stems: Sequence[str],
    poses: Float64[np.ndarray, "n 4 4"],
    times_s: Sequence[float],
    pairs: PairQuality,
    min_overlap: float,
) -> str | None:
    """Return what is wrong with the poses, naming frames; None if nothing is."""
    speeds, turns = motion(poses, times_s)
    spans_s = np.diff(times_s)
    tolerated = SPEED_TOLERANCE * np.maximum(speeds[1:], speeds[:-1])
    changes = np.maximum(np.abs(np.diff(speeds)) - tolerated, 0.0)
    accelerations = np.append(0.0, changes / ((spans_s[1:] + spans_s[:-1]) / 2))
    checks = (
        _Check(
            "an overlap with the next cloud of at least", "{:.0%}", -pairs.overlap, -min_overlap
        ),
        _Check("a speed of at most", "{:.0f} m/s", speeds, MAX_SPEED_MPS),
        _Check("a turn rate of at most", "{:.0f}°/s", turns, MAX_TURN_DPS),
        _Check("an acceleration of at most", "{:.0f} m/s²", accelerations, MAX_ACCELERATION_MPS2),
    )
    for check in checks:
        bad = np.flatnonzero(check.values > check.bound)
        if len(bad):
            worst = int(bad[np.argmax(check.values[bad])])
            bound, value = (check.form.format(abs(v)) for v in (check.bound, check.values[worst]))
            names = shortlist([stems[int(index)] for index in bad])
            return (
                f"frame {stems[worst]}: expected {check.rule} {bound}, found {value}; {len(bad)} "
                f"of {len(speeds)} steps fail, those after {names}"
            )
    return None


def motion(
    poses: Float64[np.ndarray, "n 4 4"], times_s: Sequence[float]
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Return the speed [m/s] and the turn rate [°/s] from each frame to the next."""
    steps = np.linalg.inv(poses[:-1]) @ poses[1:]
    spans_s = np.diff(times_s)
    speeds = np.linalg.norm(steps[:, :3, 3], axis=1) / spans_s
    turns = np.degrees(np.linalg.norm(rotation_vectors(steps[:, :3, :3]), axis=1)) / spans_s
    return speeds, turns


def summary(
    stems: Sequence[str],
    poses: Float64[np.ndarray, "n 4 4"],
    times_s: Sequence[float],
    pairs: PairQuality,
) -> dict[str, Any]:
    """Return the measures of a recording, as JSON has them."""
    speeds, turns = motion(poses, times_s)
    worst = int(np.argmin(pairs.overlap))
    residuals = pairs.residual_m[np.isfinite(pairs.residual_m)]
    return {
        "frames": len(stems),
        "length_m": round(float((speeds * np.diff(times_s)).sum()), 2),
        "overlap_median": round(float(np.median(pairs.overlap)), 3),
        "overlap_lowest": round(float(pairs.overlap[worst]), 3),
        "overlap_lowest_after": stems[worst],
        "residual_median_m": round(float(np.median(residuals)), 4) if len(residuals) else None,
        "speed_highest_mps": round(float(speeds.max()), 2),
        "turn_highest_dps": round(float(turns.max()), 2),
    }
