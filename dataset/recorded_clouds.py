"""What a recording leaves open about its point clouds: the unit of the intensity, and the height.

Both are stated in ``calib.json`` (``intensity_max``, and ``lidar_height_m`` or
``network_from_lidar``). What is not stated is estimated from the first clouds and logged as a
warning, with the key that states it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dataset import transforms
from dataset.cloud_rule import estimated_intensity_max
from dataset.clouds import StoredCloud, read_any_cloud, read_stored_cloud
from dataset.lidar_height import estimate_height
from dataset.options import spread
from dataset.rig import Rig

NUM_CLOUDS = 5
"""Clouds that the estimates are made from, spread over the recording."""
SAME_HEIGHT_M = 0.3
"""A LiDAR that differs by less, a voxel, is not moved."""

logger = logging.getLogger(__name__)


class RecordedClouds:
    """Point clouds of a recording, in the frame and unit of the network.

    Args:
        files: Path of each cloud by stem.
        rig: The calibration.
        network_height_m: Height of the LiDAR that the network was trained with; None: its frame is
            not the LiDAR's, and clouds are not moved.

    Attributes:
        rig: The calibration, with the height of the network's LiDAR.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If one of the first clouds is invalid.
    """

    def __init__(self, files: Mapping[str, Path], rig: Rig, network_height_m: float | None) -> None:
        self._files = files
        first = [
            read_stored_cloud(path, rig.clouds) for path in spread(list(files.values()), NUM_CLOUDS)
        ]
        folder = next(iter(files.values())).parent
        self._stated = {**rig.clouds, "intensity_max": settled_unit(first, folder)}
        clouds = [cloud.points for cloud in first]
        self.rig = placed(rig, clouds, network_height_m, f"'{folder}'")

    def read(self, stem: str) -> Float[np.ndarray, "P 4"]:
        """Read x, y, z [m] in the frame of the network, and the intensity, 0–1.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is invalid.
        """
        return self.read_file(self._files[stem])

    def read_file(self, path: Path) -> Float[np.ndarray, "P 4"]:
        """Read a file that was written since, as ``read`` does."""
        points = read_any_cloud(path, self._stated)
        if np.array_equal(self.rig.network_from_lidar, np.eye(4)):
            return points
        return transforms.transform_cloud(self.rig.network_from_lidar, points)


def in_box(points: Float[np.ndarray, "P _"], box_m: Sequence[float]) -> Bool[np.ndarray, " P"]:
    """Return the points in a box, such as that of your own vehicle.

    Args:
        points: x, y, z [m] first.
        box_m: x, y and z, each from and to [m].
    """
    x0, x1, y0, y1, z0, z1 = box_m
    x, y, z = points[:, :3].T
    inside: np.ndarray = (x > x0) & (x < x1) & (y > y0) & (y < y1) & (z > z0) & (z < z1)
    return inside


def left_open(rig: Rig, network_height_m: float | None) -> list[str]:
    """Return the keys that a calibration does not state, so that clouds have to show them."""
    keys = [] if "intensity_max" in rig.clouds else ["intensity_max"]
    is_placed = rig.states_frame or rig.lidar_height_m is not None or network_height_m is None
    return keys if is_placed else [*keys, "lidar_height_m"]


def settled_unit(clouds: Sequence[StoredCloud], folder: Path) -> float:
    """Return the intensity that becomes 1: the one that is stated, or an estimate.

    An estimate, and clouds without intensities, are logged as a warning.
    """
    with_intensity = [cloud for cloud in clouds if cloud.points.shape[1] > 3]
    if not with_intensity:
        logger.warning(
            "the point clouds of '%s' have no intensity: it is set to 0, which the network was not "
            "trained on",
            folder,
        )
        return 1.0
    stated = [cloud.intensity_max for cloud in with_intensity if cloud.intensity_max is not None]
    if stated:
        return max(stated)
    intensity = np.concatenate([cloud.points[:, 3] for cloud in with_intensity])
    estimate = estimated_intensity_max(intensity)
    if estimate is None:
        logger.warning("the intensity in %d clouds of '%s' is 0 everywhere", len(clouds), folder)
        return 1.0
    logger.warning(
        "the intensity in %d clouds of '%s' reaches %.4g, so its range is taken to be 0–%g: state "
        '"intensity_max" in the calibration (docs/custom_data.md) to be sure',
        len(clouds),
        folder,
        intensity.max(),
        estimate,
    )
    return estimate


def placed(
    rig: Rig,
    clouds: Sequence[Float[np.ndarray, "_ C"]],
    network_height_m: float | None,
    name: str,
) -> Rig:
    """Return the calibration with the points moved to the height of the network's LiDAR.

    Args:
        rig: The calibration.
        clouds: Some clouds, for an estimate of the height if the calibration does not state it;
            may be empty.
        network_height_m: Height of the LiDAR that the network was trained with; None: its frame is
            not the LiDAR's, and nothing is moved.
        name: What the clouds are called in messages.
    """
    if network_height_m is None:
        if rig.lidar_height_m is not None:
            logger.warning(
                "lidar_height_m of the calibration is not used: the network's frame is not the "
                "LiDAR's. State network_from_lidar (docs/custom_data.md)"
            )
        return rig
    if rig.lidar_height_m is not None:
        return raised(rig, rig.lidar_height_m - network_height_m)
    if rig.states_frame:
        return rig
    advice = (
        'state "lidar_height_m" or "network_from_lidar" in a .json calibration '
        "(docs/custom_data.md) to be sure"
    )
    estimate = estimate_height(clouds)
    if estimate is None:
        logger.warning(
            "the height of the LiDAR of %s is neither stated nor clear from %d clouds, and the "
            "network's is %g m above the ground: the points are not moved; %s",
            name,
            len(clouds),
            network_height_m,
            advice,
        )
        return rig
    shift_m = round(estimate.median_m - network_height_m, 2)
    if abs(shift_m) < SAME_HEIGHT_M:
        return rig
    logger.warning(
        "the LiDAR of %s is about %.2f m above the ground (%.2f to %.2f m in %d clouds), and the "
        "network's is %g m: the points are moved by %+.2f m; %s",
        name,
        estimate.median_m,
        estimate.lowest_m,
        estimate.highest_m,
        len(clouds),
        network_height_m,
        shift_m,
        advice,
    )
    return raised(rig, shift_m)


def raised(rig: Rig, shift_m: float) -> Rig:
    """Return the calibration of a network whose z is larger by ``shift_m``."""
    new_from_old = np.eye(4)
    new_from_old[2, 3] = shift_m
    old_from_new = np.linalg.inv(new_from_old)
    return replace(
        rig,
        pixel_from_lidar={
            name: matrix @ old_from_new for name, matrix in rig.pixel_from_lidar.items()
        },
        network_from_lidar=new_from_old @ rig.network_from_lidar,
    )
