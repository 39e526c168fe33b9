"""What is out of view above things that move: a LiDAR may look below the top of a truck.

Other clouds saw the space there empty, or what is behind it, while the truck was elsewhere.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int64

_BIN_DEG = 1.0


class Overhead:
    """Space above and behind moving points, where the cloud has no higher point.

    Args:
        movers: Points of the cloud on things that move, relative to the LiDAR or camera [m].
        cloud: All points of the cloud, relative to the same.
    """

    def __init__(
        self, movers: Float32[np.ndarray, "N 3"], cloud: Float32[np.ndarray, "P 3"]
    ) -> None:
        columns = round(360 / _BIN_DEG)
        self._nearest_m = np.full(columns, np.inf, np.float32)
        np.minimum.at(self._nearest_m, _columns_of(movers), _distance_m(movers))
        self._highest = np.full(columns, -np.inf, np.float32)
        np.maximum.at(self._highest, _columns_of(cloud), _slope(cloud))

    def reaches_top(self, movers: Float32[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
        """Return the moving points of directions in which no other point is higher."""
        column = _columns_of(movers)
        highest = np.full(len(self._highest), -np.inf, np.float32)
        np.maximum.at(highest, column, _slope(movers))
        reached: Bool[np.ndarray, " N"] = (highest >= self._highest)[column]
        return reached

    def hides(self, points: Float32[np.ndarray, "N 3"], reach_m: float) -> Bool[np.ndarray, " N"]:
        """Return the points in that space.

        Args:
            points: Relative to the same as the cloud [m].
            reach_m: How far it reaches behind the nearest moving point of a direction.
        """
        column = _columns_of(points)
        behind_m = _distance_m(points) - self._nearest_m[column]
        hidden: Bool[np.ndarray, " N"] = (behind_m >= 0) & (behind_m <= reach_m)
        return hidden & (_slope(points) > self._highest[column])


def _columns_of(points: Float32[np.ndarray, "N 3"]) -> Int64[np.ndarray, " N"]:
    """Return the number of the azimuth bin of each point."""
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    return np.floor(azimuth / _BIN_DEG).astype(np.int64) % round(360 / _BIN_DEG)


def _distance_m(points: Float32[np.ndarray, "N 3"]) -> Float32[np.ndarray, " N"]:
    return np.hypot(points[:, 0], points[:, 1])


def _slope(points: Float32[np.ndarray, "N 3"]) -> Float32[np.ndarray, " N"]:
    """Return the rise of each point over its distance."""
    return points[:, 2] / np.maximum(_distance_m(points), np.float32(1e-3))
