"""The parts of a frame that augmentations change together, before they become a Sample."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True)
class FrameParts:
    """One frame of one camera in its recorded LiDAR frame; parts that are not read are None.

    Attributes:
        image: RGB, 0–255, cropped and resized.
        depth_m: Camera depth of its pixels [m]; 0 where unknown.
        pixel_from_lidar: Projection into it.
        points: x, y, z [m], intensity, and any other columns.
        occupancy: Labels on the grid of the files.
        elevation_m: Heights of the elevation cells [m]; NaN where unknown.
    """

    image: UInt8[np.ndarray, "H W 3"] | None = None
    depth_m: Float32[np.ndarray, "H W"] | None = None
    pixel_from_lidar: Float64[np.ndarray, "4 4"] | None = None
    points: Float32[np.ndarray, "P F"] | None = None
    occupancy: UInt8[np.ndarray, "X Y Z"] | None = None
    elevation_m: Float32[np.ndarray, "rows cols"] | None = None
