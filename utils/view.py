"""Views: where an image of a scene is taken from, as one matrix from meters to pixels."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from utils.geometry import VoxelGrid

Number = float | int
NEAR_M = 0.05
"""A perspective view sees nothing nearer than this camera depth [m]."""


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Where an image is taken from.

    Attributes:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1) in a perspective view and to
            (u, v, d, 1) in a parallel one; d is the depth [m], pixel centers are at integer + 0.5.
        width: Columns of the image.
        height: Rows of the image.
        is_perspective: Whether the lines of sight meet in one point.

    Raises:
        ValueError: If the matrix cannot be inverted or the image has no pixels.
    """

    pixel_from_lidar: Float[np.ndarray, "4 4"]
    width: int
    height: int
    is_perspective: bool = True

    def __post_init__(self) -> None:
        """Check the fields, which may come from a file."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a view needs pixels, got width {self.width}, height {self.height}")
        is_finite = np.isfinite(self.pixel_from_lidar).all()
        if not is_finite or np.linalg.det(self.pixel_from_lidar) == 0:
            raise ValueError(f"pixel_from_lidar has no inverse:\n{self.pixel_from_lidar}")

    @property
    def aspect(self) -> float:
        """Width over height of the image once its pixels are made square."""
        right, down, forward = self.pixel_from_lidar[:3, :3]
        if self.is_perspective:  # Rows hold focal length · axis + principal point · forward.
            right, down = np.cross(right, forward), np.cross(down, forward)
        pixel_shape = np.linalg.norm(down) / np.linalg.norm(right)
        return float(self.width / self.height * pixel_shape)

    def resize(self, width: int, height: int) -> "Viewpoint":
        """The same view in another number of pixels."""
        scale = np.diag([width / self.width, height / self.height, 1.0, 1.0])
        matrix = scale @ self.pixel_from_lidar
        return replace(self, pixel_from_lidar=matrix, width=width, height=height)

    def extend(self, height: int, *, width: int | None = None) -> "Viewpoint":
        """The same view with rows added above and below, as many on either side; columns too."""
        width = width or self.width
        shift, column = np.eye(4), 2 if self.is_perspective else 3
        shift[0, column] = (width - self.width) / 2
        shift[1, column] = (height - self.height) / 2
        matrix = shift @ self.pixel_from_lidar
        return replace(self, pixel_from_lidar=matrix, width=width, height=height)

    def in_voxels(self, grid: VoxelGrid) -> "Viewpoint":
        """The same view as a map from continuous voxel coordinates; depth stays in meters."""
        lidar_from_voxel = np.diag([grid.voxel_m, grid.voxel_m, grid.voxel_m, 1.0])
        lidar_from_voxel[:3, 3] = grid.origin_m
        return replace(self, pixel_from_lidar=self.pixel_from_lidar @ lidar_from_voxel)

    def project(
        self, points_m: Float[np.ndarray, "*any 3"]
    ) -> tuple[Float[np.ndarray, "*any 2"], Float[np.ndarray, "*any"]]:
        """Pixels (u right, v down) and depth [m] of points.

        Pixels of a perspective view are those of depth ``NEAR_M`` where the depth is less.
        """
        mapped = points_m @ self.pixel_from_lidar[:3, :3].T + self.pixel_from_lidar[:3, 3]
        depth = mapped[..., 2]
        if not self.is_perspective:
            return mapped[..., :2], depth
        return mapped[..., :2] / np.maximum(depth, NEAR_M)[..., None], depth


def look_at(
    eye_m: tuple[Number, Number, Number],
    target_m: tuple[Number, Number, Number],
    *,
    size: tuple[int, int],
    fov_deg: Number,
) -> Viewpoint:
    """A perspective view from ``eye_m`` with ``target_m`` in its middle and z pointing up.

    Args:
        eye_m: Where the image is taken from [m].
        target_m: A point straight ahead [m]; not straight above or below the eye.
        size: Width and height of the image [px].
        fov_deg: Horizontal opening angle [deg].

    Raises:
        ValueError: If the line of sight is vertical or has no length.
    """
    forward = np.subtract(target_m, eye_m).astype(np.float64)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"cannot look from {eye_m} to {target_m}: the line of sight is vertical")
    axes = (right, np.cross(forward, right), forward)
    cam_from_lidar = np.eye(4)
    cam_from_lidar[:3, :3] = [axis / np.linalg.norm(axis) for axis in axes]
    cam_from_lidar[:3, 3] = -cam_from_lidar[:3, :3] @ np.asarray(eye_m)
    width, height = size
    pixel_from_cam = np.eye(4)
    pixel_from_cam[[0, 1], [0, 1]] = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    pixel_from_cam[[0, 1], [2, 2]] = width / 2, height / 2
    return Viewpoint(pixel_from_cam @ cam_from_lidar, width, height)


def birds_eye(
    near_left_m: tuple[Number, Number],
    far_right_m: tuple[Number, Number],
    *,
    height: int,
    top_m: Number,
) -> Viewpoint:
    """A parallel view straight down: forward (x) points up, left (y) points left.

    Args:
        near_left_m: x of the lower edge and y of the left edge [m].
        far_right_m: x of the upper edge and y of the right edge [m].
        height: Rows of the image; the columns follow from the ranges.
        top_m: Height [m] that the depth is measured down from.

    Raises:
        ValueError: If the corners are the wrong way round.
    """
    (near, left), (far, right) = near_left_m, far_right_m
    if far <= near or left <= right:
        raise ValueError(f"no bird's eye view from near left {near_left_m} to {far_right_m}")
    scale = height / (far - near)
    matrix = np.array(
        [
            [0.0, -scale, 0.0, scale * left],
            [-scale, 0.0, 0.0, scale * far],
            [0.0, 0.0, -1.0, top_m],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    return Viewpoint(matrix, max(1, round(scale * (left - right))), height, is_perspective=False)
