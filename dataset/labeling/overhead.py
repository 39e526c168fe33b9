"""What is out of view above things that move: a LiDAR may look below the top of a truck.

Other clouds saw the space there empty, or what is behind it, while the truck was elsewhere. A
camera looks from another place: what the LiDAR sees beside the truck can be behind its top.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

_BIN_DEG = 1.0
_COLUMNS = round(360 / _BIN_DEG)
_RIM = 0.03
"""Largest difference in slope to the highest moving point of a direction: rows of the LiDAR."""


@dataclass(frozen=True)
class Overhead:
    """Space above and behind things that move.

    Attributes:
        nearest_m: Distance at which it starts in each direction; inf where there is none.
        highest: Slope above which it lies, rise over distance.
    """

    nearest_m: Float32[np.ndarray, " D"]
    highest: Float32[np.ndarray, " D"]

    def hides(self, points: Float32[np.ndarray, "P 3"], reach_m: float) -> Bool[np.ndarray, " P"]:
        """Return the points in that space.

        Args:
            points: Relative to the sensor [m].
            reach_m: How far the space reaches behind where it starts.
        """
        column = _columns_of(points)
        behind_m = _distance_m(points) - self.nearest_m[column]
        hidden: Bool[np.ndarray, " P"] = (behind_m >= 0) & (behind_m <= reach_m)
        return hidden & (_slope(points) > self.highest[column])


def overhead_of_lidar(
    movers: Float32[np.ndarray, "N 3"], cloud: Float32[np.ndarray, "P 3"]
) -> Overhead:
    """Return the space above all points of a cloud, behind the nearest moving one.

    Args:
        movers: Its points on things that move [m].
        cloud: All its points [m].
    """
    nearest_m = _smallest(_columns_of(movers), _distance_m(movers))
    return Overhead(nearest_m, -_smallest(_columns_of(cloud), -_slope(cloud)))


def overhead_of_camera(rim: Float32[np.ndarray, "N 3"]) -> Overhead:
    """Return the space above the rim of what the LiDAR sees of things that move.

    Neighboring directions count, too: the rim may be steep in the image.

    Args:
        rim: Relative to the camera [m].
    """
    column = _columns_of(rim)
    around = np.concatenate([(column + step) % _COLUMNS for step in (-1, 0, 1)])
    nearest_m, lowest = (np.tile(values(rim), 3) for values in (_distance_m, _slope))
    return Overhead(_smallest(around, nearest_m), _smallest(around, lowest))


def rim_of(
    movers: Float32[np.ndarray, "N 3"], cloud: Float32[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "R 3"]:
    """Return the highest moving points of the directions in which no other point is higher [m].

    Args:
        movers: Points of a cloud on things that move [m].
        cloud: All its points [m].
    """
    column, slope = _columns_of(movers), _slope(movers)
    top = -_smallest(column, -slope)
    reaches_top = top >= -_smallest(_columns_of(cloud), -_slope(cloud))
    return movers[reaches_top[column] & (slope >= top[column] - np.float32(_RIM))]


def _smallest(
    column: Int64[np.ndarray, " N"], values: Float32[np.ndarray, " N"]
) -> Float32[np.ndarray, " D"]:
    """Return the smallest value of each direction; inf without one."""
    found = np.full(_COLUMNS, np.inf, np.float32)
    np.minimum.at(found, column, values)
    return found


def _columns_of(points: Float32[np.ndarray, "N 3"]) -> Int64[np.ndarray, " N"]:
    """Return the number of the direction of each point, seen from above."""
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    return np.floor(azimuth / _BIN_DEG).astype(np.int64) % _COLUMNS


def _distance_m(points: Float32[np.ndarray, "N 3"]) -> Float32[np.ndarray, " N"]:
    return np.hypot(points[:, 0], points[:, 1])


def _slope(points: Float32[np.ndarray, "N 3"]) -> Float32[np.ndarray, " N"]:
    """Return the rise of each point over its distance."""
    return points[:, 2] / np.maximum(_distance_m(points), np.float32(1e-3))
