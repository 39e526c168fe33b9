"""Measure how cameras, points and grid fit together, and warn of what cannot be right.

A calibration can be well-formed and still wrong: made for another image size, inverted, in
millimeters, or for a LiDAR with other axes. Then few points fall on the images, or the cameras look
away from the grid.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from utils.geometry import VoxelGrid

Crop = tuple[float, float, float, float]
WHOLE: Crop = (0.0, 0.0, 1.0, 1.0)
"""The crop of an image that is used as recorded."""

CENTER_U = (0.3, 0.7)
CENTER_V = (0.12, 0.88)
"""Range of the principal point, as fractions of the image's width and height. Twice the size of the
calibrated image gives 0.25, half gives 1.0. Height has the wider range: sky and hood are often
cropped."""
MAX_TILT_DEG = 50.0
"""Maximum angle between the camera's up direction and z."""
MAX_TURN_DEG = 60.0
"""Maximum angle between x and the camera that looks ahead most, for grids ahead of the LiDAR."""
MAX_DISTANCE_M = 20.0
"""Maximum distance of a camera from the origin; truck cabs are closer, millimeters are not."""
MAX_RANGE_M = 1000.0
"""Maximum range of 99 % of the points; no automotive LiDAR reaches farther."""
MIN_POINTS_IN_IMAGES = 0.05
MIN_GRID_IN_IMAGES = 0.12
MIN_POINTS_IN_GRID = 0.05
"""Minimum shares, over all cameras of a frame. A camera 30° wide sees a quarter of a grid ahead,
and one that looks to the side at most 8 %."""
MAX_POINTS_BELOW_GRID = 0.3
"""Maximum share of the points under or over the grid that are below its floor."""
FEW = 20
"""With fewer points, shares are not measured."""
FRAMES = 5
"""Frames over which shares are measured; the median counts."""
_POINTS = 2000
"""Points of a cloud that are projected, evenly spaced in the file."""
_CELLS = 16
"""Samples of the grid along its longest axis."""

logger = logging.getLogger(__name__)


class Pose(NamedTuple):
    """Geometry of a camera, from its projection.

    Attributes:
        principal_px: Principal point (u, v) [px].
        forward: Direction of view, in the frame of the points.
        up: Upward direction of the image, in the frame of the points.
        position_m: Position of the camera [m].
    """

    principal_px: Float[np.ndarray, "2"]
    forward: Float[np.ndarray, "3"]
    up: Float[np.ndarray, "3"]
    position_m: Float[np.ndarray, "3"]


def camera_pose(pixel_from_lidar: Float[np.ndarray, "4 4"]) -> Pose:
    """Return the geometry of a camera whose third row is its direction of view, of length 1."""
    right, down, forward = pixel_from_lidar[:3, :3]
    principal_px = np.array([right @ forward, down @ forward])
    down = down - principal_px[1] * forward
    position_m = -np.linalg.solve(pixel_from_lidar[:3, :3], pixel_from_lidar[:3, 3])
    return Pose(principal_px, forward, -down / np.linalg.norm(down), position_m)


def camera_problems(
    pixel_from_lidar: Sequence[Float[np.ndarray, "4 4"]],
    image_size: tuple[int, int],
    grid: VoxelGrid,
    crop: Crop = WHOLE,
) -> dict[str, str]:
    """Return what is implausible about the cameras of a frame, by cause.

    Args:
        pixel_from_lidar: Projection into each image.
        image_size: Height and width of the images.
        grid: Grid of the labels or the network.
        crop: Top, left, bottom and right of the images in the recorded ones, as fractions.
    """
    found: dict[str, str] = {}
    poses = [camera_pose(matrix) for matrix in pixel_from_lidar]
    for number, pose in enumerate(poses):
        name = f"camera {number + 1}" if len(poses) > 1 else "the camera"
        for cause, problem in _problems_of(pose, image_size, crop).items():
            found.setdefault(cause, f"{name} {problem}")
    turn_deg = min(_angle_deg(pose.forward, (1.0, 0.0, 0.0)) for pose in poses)
    if grid.origin_m[0] >= 0 and turn_deg > MAX_TURN_DEG:
        found["turn"] = (
            f"no camera looks along x, the closest is turned by {turn_deg:.0f}°, and the grid is "
            "ahead: check cam_from_lidar (Tr_velo_to_cam), or turn the points to x forward "
            "with network_from_lidar"
        )
    return found


def frame_shares(
    pixel_from_lidar: Sequence[Float[np.ndarray, "4 4"]],
    image_size: tuple[int, int],
    points: Float[np.ndarray, "P F"] | None,
    grid: VoxelGrid,
) -> dict[str, float]:
    """Measure the shares that ``share_problems`` judges, and the range of the points [m].

    Args:
        pixel_from_lidar: Projection into each image; empty without images.
        image_size: Height and width of the images.
        points: x, y, z [m], and any other columns; None without a LiDAR.
        grid: Grid of the network.
    """
    found: dict[str, float] = {}
    if pixel_from_lidar:
        coarse = max(1, max(grid.shape) // _CELLS)
        cells = [np.arange(0.5 * coarse, count, coarse) for count in grid.shape]
        centers = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
        is_seen = _on_images(grid.meters_from_voxel(centers), pixel_from_lidar, image_size)
        found["grid_in_images"] = float(is_seen.mean())
    if points is not None:
        found["points"] = float(len(points))
    if points is None or len(points) < FEW:
        return found
    points_m = points[:: -(-len(points) // _POINTS), :3].astype(np.float64)
    found["range_m"] = float(np.quantile(np.linalg.norm(points_m, axis=1), 0.99))
    voxels = grid.voxel_from_meters(points_m)
    is_within = (voxels >= 0) & (voxels < grid.shape)
    found["points_in_grid"] = float(is_within.all(axis=1).mean())
    is_over = is_within[:, :2].all(axis=1)
    if is_over.sum() >= FEW:
        found["points_below_grid"] = float((voxels[is_over, 2] < 0).mean())
    if pixel_from_lidar:
        is_seen = _on_images(points_m, pixel_from_lidar, image_size)
        found["points_in_images"] = float(is_seen.mean())
    return found


def share_problems(measured: Mapping[str, float], grid: VoxelGrid) -> dict[str, str]:
    """Return what is implausible about the shares of ``frame_shares``, by cause."""
    found: dict[str, str] = {}

    def check(name: str, lowest: float, what: str, advice: str) -> None:
        if measured.get(name, 1.0) < lowest:
            found[name] = (
                f"only {100 * measured[name]:.1f} % of {what}, expected at least "
                f"{100 * lowest:.0f} %: {advice}"
            )

    (x0, y0, z0), (x1, y1, z1) = grid.origin_m, grid.end_m
    box = f"x {x0:g} to {x1:g}, y {y0:g} to {y1:g}, z {z0:g} to {z1:g} m"
    matrices = "check cam_from_lidar (Tr_velo_to_cam) and the axes of the points"
    check("points_in_images", MIN_POINTS_IN_IMAGES, "the points fall on an image", matrices)
    check("grid_in_images", MIN_GRID_IN_IMAGES, "the grid is in view of a camera", matrices)
    advice = f"the grid covers {box}; check network_from_lidar, axes and unit of the points"
    check("points_in_grid", MIN_POINTS_IN_GRID, "the points are in the grid", advice)
    if measured.get("points", FEW) < FEW:
        found["points"] = (
            f"only {measured['points']:.0f} points of a frame are within dataset.max_range_m: "
            "point clouds must be in meters, with x forward"
        )
    below = measured.get("points_below_grid", 0.0)
    if below > MAX_POINTS_BELOW_GRID:
        found["points_below_grid"] = (
            f"{100 * below:.0f} % of the points are below the floor of the grid at {z0:g} m, "
            f"expected at most {100 * MAX_POINTS_BELOW_GRID:.0f} %: check the height of the LiDAR, "
            "and network_from_lidar"
        )
    range_m = measured.get("range_m", 0.0)
    if range_m > MAX_RANGE_M:
        found["range_m"] = (
            f"1 % of the points are beyond {range_m:,.0f} m: point clouds must be in meters, with "
            "the LiDAR near the origin"
        )
    return found


class RegistrationWatch:
    """Looks at frames as they pass, and warns once per cause.

    Args:
        grid: Grid of the network.
        crop: Used part of the recorded images (``dataset.image_crop``).
    """

    def __init__(self, grid: VoxelGrid, crop: Crop) -> None:
        self._grid, self._crop = grid, crop
        self._warned: set[str] = set()
        self._measured: list[dict[str, float]] = []

    def see(
        self,
        stem: str,
        images: Tensor | None,
        pixel_from_lidar: Float[Tensor, "N 4 4"] | None,
        points: Float[Tensor, "P F"] | None,
    ) -> None:
        """Check the cameras of a frame, and measure the shares of the first frames."""
        size = (0, 0) if images is None else (images.shape[-2], images.shape[-1])
        matrices: list[np.ndarray] = []
        if images is not None and pixel_from_lidar is not None:
            matrices = list(pixel_from_lidar.double().cpu().numpy())
            problems = camera_problems(matrices, size, self._grid, self._crop)
            self._warn(problems, f"frame {stem}")
        if len(self._measured) < FRAMES:
            cloud = None if points is None else points.cpu().numpy()
            self._measured.append(frame_shares(matrices, size, cloud, self._grid))
            if len(self._measured) == FRAMES:
                self.close()

    def close(self) -> None:
        """Judge the shares of the frames seen so far."""
        names = {name for measured in self._measured for name in measured}
        medians = {
            name: float(np.median([m[name] for m in self._measured if name in m])) for name in names
        }
        frames = f"median of {len(self._measured)} frames"
        self._warn(share_problems(medians, self._grid), frames)

    def _warn(self, problems: Mapping[str, str], where: str) -> None:
        for cause, problem in problems.items():
            if cause not in self._warned:
                self._warned.add(cause)
                logger.warning("calibration (%s): %s", where, problem)


def _problems_of(pose: Pose, image_size: tuple[int, int], crop: Crop) -> dict[str, str]:
    """Return what is implausible about one camera, by cause."""
    found: dict[str, str] = {}
    top, left, bottom, right = crop
    u = left + (right - left) * pose.principal_px[0] / image_size[1]
    v = top + (bottom - top) * pose.principal_px[1] / image_size[0]
    if not (CENTER_U[0] <= u <= CENTER_U[1] and CENTER_V[0] <= v <= CENTER_V[1]):
        found["principal_point"] = (
            f"has its principal point at {100 * u:.0f} % of the image's width and {100 * v:.0f} % "
            "of its height, expected near the middle: is the calibration for another image size?"
        )
    tilt_deg = _angle_deg(pose.up, (0.0, 0.0, 1.0))
    if tilt_deg > MAX_TILT_DEG:
        found["up"] = (
            f"has its up direction {tilt_deg:.0f}° away from z: is it upside down, or is "
            "cam_from_lidar (Tr_velo_to_cam) inverted?"
        )
    distance_m = float(np.linalg.norm(pose.position_m))
    if distance_m > MAX_DISTANCE_M:
        found["distance"] = (
            f"is {distance_m:,.0f} m from the origin of the points: are translations in "
            "millimeters?"
        )
    return found


def _angle_deg(vector: Float[np.ndarray, "3"], axis: tuple[float, float, float]) -> float:
    cosine = float(vector @ np.array(axis) / np.linalg.norm(vector))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _on_images(
    points_m: Float[np.ndarray, "P 3"],
    pixel_from_lidar: Sequence[Float[np.ndarray, "4 4"]],
    image_size: tuple[int, int],
) -> Bool[np.ndarray, "P"]:
    """Return which points fall on at least one image."""
    is_seen = np.zeros(len(points_m), bool)
    height, width = image_size
    for matrix in pixel_from_lidar:
        u, v, depth_m = (points_m @ matrix[:3, :3].T + matrix[:3, 3]).T
        is_seen |= (
            (depth_m > 0) & (u >= 0) & (v >= 0) & (u < width * depth_m) & (v < height * depth_m)
        )
    return is_seen
