"""Viewpoints: a projection matrix from meters to pixels, with an image size."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from utils.geometry import VoxelGrid

Number = float | int
NEAR_M = 0.05
"""Near plane of perspective views: minimum camera depth [m]."""


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """The viewpoint of an image.

    Attributes:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1) in a perspective view and to
            (u, v, d, 1) in a parallel one; d is the depth [m], pixel centers are at integer + 0.5.
        width: Width of the image [px].
        height: Height of the image [px].
        is_perspective: Whether the projection is perspective; else it is parallel.

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
            raise ValueError(
                f"a view must have pixels, got width {self.width}, height {self.height}"
            )
        is_finite = np.isfinite(self.pixel_from_lidar).all()
        if not is_finite or np.linalg.det(self.pixel_from_lidar) == 0:
            raise ValueError(f"pixel_from_lidar has no inverse:\n{self.pixel_from_lidar}")

    @property
    def aspect(self) -> float:
        """Aspect ratio of the image with square pixels: width / height."""
        right, down, forward = self.pixel_from_lidar[:3, :3]
        if self.is_perspective:  # Rows hold focal length · axis + principal point · forward.
            right, down = np.cross(right, forward), np.cross(down, forward)
        pixel_shape = np.linalg.norm(down) / np.linalg.norm(right)
        return float(self.width / self.height * pixel_shape)

    def resize(self, width: int, height: int) -> "Viewpoint":
        """Return the same view at another image size."""
        scale = np.diag([width / self.width, height / self.height, 1.0, 1.0])
        matrix = scale @ self.pixel_from_lidar
        return replace(self, pixel_from_lidar=matrix, width=width, height=height)

    def extend(self, height: int, *, width: int | None = None) -> "Viewpoint":
        """Return the same view with rows added equally above and below, and columns likewise."""
        width = width or self.width
        shift, column = np.eye(4), 2 if self.is_perspective else 3
        shift[0, column] = (width - self.width) / 2
        shift[1, column] = (height - self.height) / 2
        matrix = shift @ self.pixel_from_lidar
        return replace(self, pixel_from_lidar=matrix, width=width, height=height)

    def in_voxels(self, grid: VoxelGrid) -> "Viewpoint":
        """Return the same view from continuous voxel coordinates; depth stays in meters."""
        lidar_from_voxel = np.diag([grid.voxel_m, grid.voxel_m, grid.voxel_m, 1.0])
        lidar_from_voxel[:3, 3] = grid.origin_m
        return replace(self, pixel_from_lidar=self.pixel_from_lidar @ lidar_from_voxel)

    def project(
        self, points_m: Float[np.ndarray, "*any 3"]
    ) -> tuple[Float[np.ndarray, "*any 2"], Float[np.ndarray, "*any"]]:
        """Project points to pixels (u right, v down) and depth [m].

        In a perspective view, the pixels are computed with a depth of at least ``NEAR_M``.
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
    """Return a perspective view from ``eye_m``, centered on ``target_m``, with z up.

    Args:
        eye_m: Position of the eye [m].
        target_m: Point at the center of the image [m]; not straight above or below the eye.
        size: Width and height of the image [px].
        fov_deg: Horizontal field of view [deg].

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
    """Return a parallel view straight down: forward (x) is up, left (y) is left.

    Args:
        near_left_m: x of the lower edge and y of the left edge [m].
        far_right_m: x of the upper edge and y of the right edge [m].
        height: Height of the image [px]; the width follows from the ranges.
        top_m: Height of depth 0 [m].

    Raises:
        ValueError: If the corners are swapped.
    """
    (near, left), (far, right) = near_left_m, far_right_m
    if far <= near or left <= right:
        raise ValueError(
            "a bird's-eye view needs near < far and right < left, got near left "
            f"{near_left_m} and far right {far_right_m}"
        )
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
