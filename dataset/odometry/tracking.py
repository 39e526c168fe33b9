"""First poses of consecutive point clouds, by kiss-icp, each cloud against a map of those before.

kiss-icp assumes that the vehicle stands still at first. If it does not, the first poses can be
wrong by meters. They are therefore estimated again backward, from where the motion is known.
"""

import importlib
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float64

VOXEL_M = 0.8
"""Voxel of kiss-icp's map. Smaller ones are slower, and what follows refines the poses."""
MAX_RANGE_M = 100.0
START_FRAMES = 40
"""Frames that are estimated backward. kiss-icp recovers from its start within a few."""

Points = Float64[np.ndarray, "_ 3"]
Matrices = Float64[np.ndarray, "n 4 4"]


def tracker_version() -> str:
    """Return the version of kiss-icp.

    Raises:
        ValueError: If it is not installed.
    """
    _import("kiss_icp.kiss_icp")
    return version("kiss-icp")


def track(read: Callable[[int], Points], count: int) -> Matrices:
    """Return first_from_lidar of each cloud.

    Args:
        read: Returns the points of a cloud [m] by its number.
        count: Number of clouds, in time order.

    Raises:
        ValueError: If kiss-icp is not installed.
    """
    forward = _run((read(index) for index in range(count)), np.eye(4))
    last = min(START_FRAMES, count - 1)
    if not last:
        return forward
    backward_step = np.linalg.inv(forward[last]) @ forward[last - 1]
    backward = _run((read(index) for index in range(last, -1, -1)), backward_step)[::-1]
    start = np.linalg.inv(backward[0]) @ backward
    rest = np.linalg.inv(forward[last]) @ forward[last + 1 :]
    return np.concatenate([start, start[-1] @ rest])


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
