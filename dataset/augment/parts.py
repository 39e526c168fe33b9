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

    @property
    def view_size(self) -> tuple[int, int] | None:
        """Height and width of the image or the depth map; None if there is neither."""
        view = self.depth_m if self.image is None else self.image
        return None if view is None else (view.shape[0], view.shape[1])

    def viewpoint_m(self) -> Float64[np.ndarray, " 3"]:
        """Return the position of the camera in the LiDAR frame; without one, that of the LiDAR."""
        if self.pixel_from_lidar is None:
            return np.zeros(3)
        matrix = self.pixel_from_lidar
        return -np.linalg.solve(matrix[:3, :3], matrix[:3, 3])
