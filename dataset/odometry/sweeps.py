"""Point clouds of a recording as odometry needs them: without near points, and motion-corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from dataset.cloud_rule import CloudRule
from dataset.clouds import read_stored_cloud
from dataset.formats import read_cloud_rows

Matrices = Float64[np.ndarray, "n 4 4"]


@dataclass(frozen=True)
class SweepOptions:
    """How clouds are read.

    Attributes:
        stated: What calib.json states about the clouds, by field of ``CloudRule``.
        time_column: Column of ``.bin`` files with the time of each point, from 1; None: none.
        spin_s: Period of a LiDAR that turns clockwise, seen from above, and looks ahead at the time
            of the frame; negative: counterclockwise; None: not used. Times of points follow from
            their azimuth.
        min_range_m: Closer points are of the own vehicle, and are dropped.
    """

    stated: Mapping[str, Any]
    time_column: int | None = None
    spin_s: float | None = None
    min_range_m: float = 2.0

    @property
    def has_times(self) -> bool:
        """Whether motion within a sweep can be corrected."""
        return self.time_column is not None or self.spin_s is not None


def read_sweep(
    path: Path, options: SweepOptions, velocity: Float64[np.ndarray, "6"] | None
) -> Float64[np.ndarray, "P 3"]:
    """Read the points of a cloud [m] that are not too close.

    Args:
        path: The cloud.
        options: How to read it.
        velocity: Turn rate [rad/s] and velocity [m/s] of the LiDAR in its own frame, to correct
            for; None: points stay as recorded.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is invalid, or has no far points.
    """
    rows = read_rows(path, options)
    points = rows[:, :3].astype(np.float64)
    is_far = np.linalg.norm(points, axis=1) >= options.min_range_m
    if not is_far.any():
        raise ValueError(
            f"{path}: expected points beyond {options.min_range_m:g} m, found {len(points)} points "
            "that are all closer: remove the frame, or lower --min-range"
        )
    if velocity is None or not options.has_times:
        return points[is_far]
    times_s = point_times_s(rows, options)
    return corrected(points[is_far], times_s[is_far], velocity)


def read_rows(path: Path, options: SweepOptions) -> Float[np.ndarray, "P C"]:
    """Read all columns that are needed.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is invalid, or times are stated for a format without columns.
    """
    if options.time_column is None:
        return read_stored_cloud(path, options.stated).points
    if path.suffix != ".bin":
        raise ValueError(
            f"{path}: expected .bin files, as calib.json states time_column, found {path.suffix}: "
            "convert the clouds, or remove time_column"
        )
    rule = replace(CloudRule(None), **options.stated)
    return read_cloud_rows(path, rule, advice="Correct columns and dtype in calib.json.")


def point_times_s(
    rows: Float[np.ndarray, "P C"], options: SweepOptions
) -> Float64[np.ndarray, " P"]:
    """Return when each point was measured [s], from the time of the frame."""
    if options.time_column is not None:
        return rows[:, options.time_column - 1].astype(np.float64)
    assert options.spin_s is not None, "call only with times"
    azimuth = np.arctan2(rows[:, 1], rows[:, 0]).astype(np.float64)
    return -azimuth / (2 * np.pi) * options.spin_s


def corrected(
    points: Float64[np.ndarray, "P 3"],
    times_s: Float64[np.ndarray, " P"],
    velocity: Float64[np.ndarray, "6"],
) -> Float64[np.ndarray, "P 3"]:
    """Return points as the LiDAR would measure them at the time of the frame.

    The motion is linear in time. Within a sweep of 0.1 s, the vehicle turns by a few degrees, and
    the error stays below a thousandth of the range.
    """
    return points + times_s[:, None] * (np.cross(velocity[:3], points) + velocity[3:])


def velocities(poses: Matrices, times_s: Sequence[float]) -> Float64[np.ndarray, "n 6"]:
    """Return turn rate [rad/s] and velocity [m/s] of each frame, from the frames beside it."""
    count = len(poses)
    before = np.maximum(np.arange(count) - 1, 0)
    after = np.minimum(np.arange(count) + 1, count - 1)
    spans_s = np.maximum(np.array(times_s)[after] - np.array(times_s)[before], 1e-9)
    here_from_world = poses[:, :3, :3].transpose(0, 2, 1)
    steps = poses[after, :3, 3] - poses[before, :3, 3]
    moved = np.einsum("nij,nj->ni", here_from_world, steps)
    turns = here_from_world @ poses[after, :3, :3]
    turned = turns @ (here_from_world @ poses[before, :3, :3]).transpose(0, 2, 1)
    return np.hstack([rotation_vectors(turned), moved]) / spans_s[:, None]


def rotation_vectors(rotations: Float64[np.ndarray, "n 3 3"]) -> Float64[np.ndarray, "n 3"]:
    """Return axis times angle [rad] of rotations by less than half a turn."""
    skew = rotations - rotations.transpose(0, 2, 1)
    axes = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1) / 2
    sines = np.linalg.norm(axes, axis=1)
    cosines = (np.trace(rotations, axis1=1, axis2=2) - 1) / 2
    angles = np.arctan2(sines, cosines)
    return axes * np.where(sines > 1e-12, angles / np.maximum(sines, 1e-12), 1.0)[:, None]
