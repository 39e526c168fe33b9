"""Corruptions of both sensors together: transforms of Samples."""

from dataclasses import replace

import numpy as np
import torch

from dataset.corruptions.surroundings import Surroundings
from dataset.sample import Sample


def misalign_space(
    sample: Sample,
    rng: np.random.Generator,
    around: Surroundings,
    *,
    share: float,
    turn_deg: float,
    shift_m: float,
) -> Sample:
    """Knock the cameras out of place: the calibration is off, points and images stay as they are.

    Args:
        sample: The frame.
        rng: Draws whether it happens, and the signs of the errors.
        around: What is around the frame.
        share: Probability.
        turn_deg: Rotation about each of x, y and z [degrees].
        shift_m: Shift along x [m].
    """
    drawn, signs = rng.random(), rng.choice([-1.0, 1.0], 4)
    if sample.pixel_from_lidar is None or drawn >= share:
        return sample
    error = np.eye(4)
    for axis, sign in enumerate(signs[:3]):
        error = error @ _turn(axis, float(sign) * np.deg2rad(turn_deg))
    error[0, 3] = signs[3] * shift_m
    about_lidar = np.eye(4)
    about_lidar[:3, 3] = around.lidar_m
    error = about_lidar @ error @ np.linalg.inv(about_lidar)
    moved = sample.pixel_from_lidar.double() @ torch.from_numpy(error)
    return replace(sample, pixel_from_lidar=moved.to(sample.pixel_from_lidar.dtype))


def misalign_time(
    sample: Sample, rng: np.random.Generator, around: Surroundings, *, share: float
) -> Sample:
    """Let each camera, and the LiDAR, be late by one frame, each with probability ``share``.

    The late data is taken for current: calibration and labels stay. The first frame of a scene has
    none before it and stays as it is.
    """
    cameras = 0 if sample.images is None else len(sample.images)
    is_late = rng.random(1 + cameras) < share
    previous = around.previous() if is_late.any() else None
    if previous is None:
        return sample
    points, images = sample.points, sample.images
    if is_late[0] and points is not None:
        points = previous.points
    if images is not None and previous.images is not None:
        late = torch.from_numpy(is_late[1:])[:, None, None, None]
        images = torch.where(late, previous.images, images)
    return replace(sample, points=points, images=images)


def _turn(axis: int, angle: float) -> np.ndarray:
    """Return the rotation about an axis, as (4, 4)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix
