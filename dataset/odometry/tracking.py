"""First poses of consecutive point clouds, by kiss-icp, each cloud against a map of those before.

kiss-icp assumes that the vehicle stands still at first. If it does not, the first poses can be
wrong by meters. Several speeds are therefore tried, and the one after which the first clouds
overlap most is used.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.odometry.quality import overlap
from dataset.odometry.surfaces import thinned

VOXEL_M = 0.8
"""Voxel of kiss-icp's map. Smaller ones are slower, and what follows refines the poses."""
MAX_RANGE_M = 100.0
START_SPEEDS_MPS = (0.0, 5.0, 10.0, 15.0, 25.0)
"""Speeds ahead that are tried. kiss-icp finds those between them."""
START_FRAMES = 7
"""Frames that tell them apart."""
_START_VOXEL_M = 0.4  # Fewer points make the trials quick.

Points = Float64[np.ndarray, "_ 3"]
Matrices = Float64[np.ndarray, "n 4 4"]


def tracker_version() -> str:
    """Return the version of kiss-icp.

    Raises:
        ValueError: If it is not installed.
    """
    _import("kiss_icp.kiss_icp")
    return version("kiss-icp")


def track(read: Callable[[int], Points], times_s: Sequence[float]) -> Matrices:
    """Return first_from_lidar of each cloud.

    Args:
        read: Returns the points of a cloud [m] by its number.
        times_s: Times of the clouds, increasing.

    Raises:
        ValueError: If kiss-icp is not installed.
    """
    first = [read(index) for index in range(min(START_FRAMES, len(times_s)))]
    first = [points[thinned(points, _START_VOXEL_M)] for points in first]
    steps = []
    for speed_mps in START_SPEEDS_MPS:
        step = np.eye(4)
        step[0, 3] = speed_mps * (times_s[1] - times_s[0])
        steps.append(step)
    overlaps = [_mean_overlap(first, _run(first, step)) for step in steps]
    return _run((read(index) for index in range(len(times_s))), steps[int(np.argmax(overlaps))])


def _mean_overlap(clouds: Sequence[Points], poses: Matrices) -> float:
    relative = np.linalg.inv(poses[:-1]) @ poses[1:]
    return float(
        np.mean([overlap(*pair) for pair in zip(clouds[:-1], clouds[1:], relative, strict=True)])
    )


def _run(clouds: Iterable[Points], step: Float64[np.ndarray, "4 4"]) -> Matrices:
    """Return the poses of clouds, given the motion from each cloud to the next at the start."""
    tracker = _import("kiss_icp.kiss_icp").KissICP(_config())
    tracker.last_delta = step
    tracker.last_pose = np.linalg.inv(step)  # The first cloud then is at the origin.
    poses = []
    for points in clouds:
        tracker.register_frame(points, np.zeros(0))
        poses.append(np.array(tracker.last_pose))
    return np.stack(poses)


def _config() -> Any:
    """Return kiss-icp's configuration; one thread, so that results are the same each time."""
    config = _import("kiss_icp.config.parser").load_config(None)
    config.data.max_range = MAX_RANGE_M
    config.data.min_range = 0.0
    config.data.deskew = False
    config.mapping.voxel_size = VOXEL_M
    config.registration.max_num_threads = 1
    return config


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"poses are estimated with kiss-icp, which is not installed ({error}): pip install -r "
            "requirements-poses.txt -c constraints.txt"
        ) from error
