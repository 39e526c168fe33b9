"""The voxel grid, and conversions between voxels, meters and sampling coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Points = TypeVar("Points", np.ndarray, Tensor)


@dataclass(frozen=True)
class VoxelGrid:
    """A box of cubic voxels in the LiDAR frame; the only owner of ranges and voxel sizes.

    Attributes:
        origin_m: Lower corner (x, y, z) of voxel (0, 0, 0) [m].
        voxel_m: Edge of a voxel [m]; must be > 0.
        shape: Number of voxels along x (forward), y (left), z (up).

    Raises:
        ValueError: If the voxel size or a count is not positive.
    """

    origin_m: tuple[float, float, float]
    voxel_m: float
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Validate the fields."""
        if self.voxel_m <= 0:
            raise ValueError(f"a grid needs voxel_m > 0, got {self.voxel_m}")
        if min(self.shape) < 1:
            raise ValueError(f"a grid needs at least one voxel along each axis, got {self.shape}")

    @classmethod
    def from_config(cls, grid: "VoxelGrid | Mapping[str, Any]") -> "VoxelGrid":
        """Return a grid as it is, or build one from ``dict(origin_m, voxel_m, shape)``.

        Raises:
            ValueError: If keys or values are wrong.
        """
        if isinstance(grid, VoxelGrid):
            return grid
        if set(grid) != {"origin_m", "voxel_m", "shape"}:
            raise ValueError(f"a grid has the keys origin_m, voxel_m and shape, got {sorted(grid)}")
        try:
            (x, y, z), (nx, ny, nz) = grid["origin_m"], grid["shape"]
            origin_m, voxel_m = (float(x), float(y), float(z)), float(grid["voxel_m"])
        except (TypeError, ValueError) as error:
            raise ValueError(
                "a grid needs three numbers for origin_m, one for voxel_m and three integers for "
                f"shape, got {dict(grid)}"
            ) from error
        return cls(origin_m, voxel_m, (nx, ny, nz))

    @property
    def end_m(self) -> tuple[float, float, float]:
        """Upper corner (x, y, z) [m]."""
        x, y, z = (o + n * self.voxel_m for o, n in zip(self.origin_m, self.shape, strict=True))
        return x, y, z

    def coarsen(self, factor: int) -> "VoxelGrid":
        """The same box with voxels ``factor`` times as large.

        Raises:
            ValueError: If ``factor`` does not divide the shape.
        """
        if factor < 1 or any(n % factor for n in self.shape):
            raise ValueError(f"{factor} does not divide the grid's shape {self.shape}")
        x, y, z = (n // factor for n in self.shape)
        return VoxelGrid(self.origin_m, self.voxel_m * factor, (x, y, z))

    def coarsening_of(self, fine: "VoxelGrid") -> int:
        """The factor for which ``fine.coarsen(factor)`` equals this grid.

        Raises:
            ValueError: If there is no such factor.
        """
        factor = fine.shape[0] // self.shape[0]
        same_shape = tuple(n * factor for n in self.shape) == fine.shape
        same_box = np.allclose(self.origin_m, fine.origin_m) and np.allclose(self.end_m, fine.end_m)
        if not (same_shape and same_box):
            raise ValueError(f"{self} is not a coarsening of {fine}")
        return factor

    def voxel_from_meters(self, points_m: Points) -> Points:
        """Continuous voxel coordinates (..., 3); ``floor`` gives the index, k + 0.5 is a center."""
        return (points_m - as_array(self.origin_m, points_m)) / self.voxel_m

    def meters_from_voxel(self, voxels: Points) -> Points:
        """Points (..., 3) [m] of continuous voxel coordinates; index + 0.5 is a center."""
        return voxels * self.voxel_m + as_array(self.origin_m, voxels)

    def sampling_from_meters(self, points_m: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
        """Coordinates (..., 3) for ``grid_sample(volume, ..., align_corners=False)``.

        Inside the box they are in [-1, 1], last volume axis first: (z, y, x) for (X, Y, Z).
        """
        unit = self.voxel_from_meters(points_m) / as_array(self.shape, points_m)
        return 2.0 * unit.flip(-1) - 1.0

    def contains(self, points_m: Float[Tensor, "*any 3"]) -> Bool[Tensor, "*any"]:
        """Whether points [m] lie in the box: lower faces inclusive, upper faces exclusive."""
        voxels = torch.floor(self.voxel_from_meters(points_m))
        return ((voxels >= 0) & (voxels < as_array(self.shape, points_m))).all(-1)

    def centers_m(self, device: torch.device | str = "cpu") -> Float[Tensor, "X Y Z 3"]:
        """Centers of all voxels [m]."""
        axes = [torch.arange(n, device=device, dtype=torch.float32) + 0.5 for n in self.shape]
        return self.meters_from_voxel(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))


def as_array(values: tuple[float | int, ...], points: Points) -> Points:
    """Convert ``values`` to the array type, dtype and device of ``points``."""
    if isinstance(points, Tensor):
        if torch.compiler.is_compiling():  # The compiler folds constants itself.
            return torch.tensor(values, dtype=points.dtype, device=points.device)
        return _constant(values, points.dtype, points.device)
    return np.asarray(values, dtype=points.dtype)


@lru_cache(maxsize=256)
def _constant(
    values: tuple[float | int, ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "numbers"]:
    """Constants cached on a device: each copy from the host would synchronize."""
    with torch.inference_mode(False):  # Otherwise training could not use it later.
        return torch.tensor(values, dtype=dtype, device=device)


def transform_points(
    dst_from_src: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Apply rigid or affine transforms to points."""
    rotation, translation = dst_from_src[..., :3, :3], dst_from_src[..., :3, 3]
    return points @ rotation.transpose(-1, -2) + translation[..., None, :]


def project_points(
    pixel_from_lidar: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch N 3"]
) -> tuple[Float[Tensor, "*batch N 2"], Float[Tensor, "*batch N"]]:
    """Project LiDAR-frame points to pixels.

    Args:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1), d the camera depth [m].
        points: Points in the LiDAR frame [m].

    Returns:
        Pixels (u right, v down; pixel centers at integer + 0.5) and camera depth [m]. Pixels of
        points at depth <= 0 are finite but meaningless: mask them by depth.
    """
    homogeneous = transform_points(pixel_from_lidar, points)
    depth = homogeneous[..., 2]
    safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
    return homogeneous[..., :2] / safe[..., None], depth
