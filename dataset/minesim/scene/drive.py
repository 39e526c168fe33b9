"""The ego vehicle's motion along the haul road: poses, velocities and accelerations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.road import WHEEL_OFFSET_M, Road, Waves

RATE_HZ = 10.0
"""Pose rate."""
_DENSE = 10  # Integration steps between two poses.
_MARGIN_S = 1.5  # Driven before and after the recorded time, so that smoothing has no ends.
_TABLE_M = 0.01  # Step of the table from x to distance driven.
_SUSPENSION_S = 0.25  # Standard deviation of the smoothing by tires and suspension.


@dataclass(frozen=True)
class Drive:
    """Motion of the ego vehicle at 10 Hz, one entry per pose.

    The vehicle frame lies on the ground below the sensors: x forward, y left, z up.

    Attributes:
        world_from_vehicle: Poses.
        time_s: Time since the first pose [s].
        velocity_mps: Velocity in the vehicle frame [m/s].
        acceleration_mps2: Derivative of the world-frame velocity, without gravity, expressed in
            the vehicle frame [m/s²].
    """

    world_from_vehicle: Float[np.ndarray, "T 4 4"]
    time_s: Float[np.ndarray, "T"]
    velocity_mps: Float[np.ndarray, "T 3"]
    acceleration_mps2: Float[np.ndarray, "T 3"]


@dataclass(frozen=True)
class SpeedPlan:
    """Speed over time: a constant plus a slow sine, so that the vehicle accelerates and brakes.

    Attributes:
        mean_mps: Mean speed [m/s].
        swing_mps: Amplitude of the sine [m/s].
        period_s: Period of the sine [s].
        phase: Phase of the sine at time 0 [rad].
    """

    mean_mps: float
    swing_mps: float
    period_s: float
    phase: float

    def distance_m(self, time_s: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
        """Return the distance driven since time 0 [m]."""
        frequency = 2 * np.pi / self.period_s
        swing = np.cos(self.phase) - np.cos(frequency * time_s + self.phase)
        return self.mean_mps * time_s + self.swing_mps / frequency * swing


def draw_speed(rng: np.random.Generator) -> SpeedPlan:
    """Draw a random plan with speeds of 3 to 10 m/s."""
    mean = float(rng.uniform(4.5, 8.8))
    swing = min(mean - 3.0, 10.0 - mean, 2.5) * float(rng.uniform(0.3, 1.0))
    return SpeedPlan(mean, swing, float(rng.uniform(9.0, 18.0)), float(rng.uniform(0, 2 * np.pi)))


def drive_along(
    road: Road,
    height_m: Callable[[np.ndarray], np.ndarray],
    speed: SpeedPlan,
    sway: Waves,
    duration_s: float,
) -> Drive:
    """Drive along the right lane, starting at x = 0.

    Args:
        road: The road to follow.
        height_m: Ground height [m] at points (N, 2).
        speed: Speed over time.
        sway: Lateral offset from the middle of the lane as a function of x [m].
        duration_s: Recorded time [s], with a pose at 0 and every 0.1 s after it.
    """
    frames = int(np.floor(duration_s * RATE_HZ + 1e-9)) + 1
    step = 1.0 / (RATE_HZ * _DENSE)
    margin = round(_MARGIN_S / step)
    time = step * np.arange(-margin, (frames - 1) * _DENSE + margin + 1)
    x = _advance(road, speed.distance_m(time), margin)
    lane = road.lane_m + sway.value(x)
    left, right = (
        _smooth(height_m(road.point(x, lane + side)), _SUSPENSION_S / step)
        for side in (WHEEL_OFFSET_M, -WHEEL_OFFSET_M)
    )
    position = np.concatenate([road.point(x, lane), (left + right)[:, None] / 2], axis=-1)
    velocity = np.gradient(position, step, axis=0)
    acceleration = np.gradient(velocity, step, axis=0)
    rotation = _rotation(velocity, np.arctan((left - right) / (2 * WHEEL_OFFSET_M)))
    keep = slice(margin, margin + (frames - 1) * _DENSE + 1, _DENSE)
    pose = np.tile(np.eye(4), (frames, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = rotation[keep], position[keep]
    body = [np.einsum("tji,tj->ti", rotation[keep], v[keep]) for v in (velocity, acceleration)]
    return Drive(pose, time[keep] - time[margin], body[0], body[1])


def _advance(road: Road, distance_m: Float[np.ndarray, "T"], start: int) -> Float[np.ndarray, "T"]:
    """Return world x for each distance driven; x is 0 at index ``start``."""
    table = np.arange(distance_m[0] - 5.0, distance_m[-1] + 5.0, _TABLE_M)
    stretch = road.stretch(table)
    length = np.concatenate([[0.0], np.cumsum((stretch[1:] + stretch[:-1]) / 2 * _TABLE_M)])
    length = length - np.interp(0.0, table, length)
    return np.interp(distance_m - distance_m[start], length, table)


def _smooth(values: Float[np.ndarray, "T"], deviation: float) -> Float[np.ndarray, "T"]:
    """Smooth with a Gaussian kernel, holding the end values constant."""
    reach = int(np.ceil(4 * deviation))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / deviation))
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _rotation(
    velocity: Float[np.ndarray, "T 3"], roll_rad: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T 3 3"]:
    """Return world-from-vehicle rotations: x along the velocity, rolled about it."""
    forward = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    level = np.stack([-forward[:, 1], forward[:, 0], np.zeros(len(forward))], axis=-1)
    level /= np.linalg.norm(level, axis=-1, keepdims=True)
    upright = np.cross(forward, level)
    left = np.cos(roll_rad)[:, None] * level + np.sin(roll_rad)[:, None] * upright
    return np.stack([forward, left, np.cross(forward, left)], axis=-1)
