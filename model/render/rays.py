"""Rays of pixels, parametrized by camera depth."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Rays(NamedTuple):
    """Half-lines in the LiDAR frame; ``origins + d · directions`` lies at camera depth d.

    Attributes:
        origins: Camera centers [m].
        directions: Steps for one meter of camera depth [m per m]; longer than 1 off the axis.
    """

    origins: Float[Tensor, "B R 3"]
    directions: Float[Tensor, "B R 3"]

    def at(self, depth_m: Float[Tensor, "B R S"]) -> Float[Tensor, "B R S 3"]:
        """Points of each ray at S camera depths [m]."""
        return self.origins[:, :, None] + depth_m[..., None] * self.directions[:, :, None]


def pixel_centers(
    height: int, width: int, *, stride: int = 1, device: torch.device | str = "cpu"
) -> Float[Tensor, "R 2"]:
    """Pixels (u, v) at the centers of the image's ``stride`` × ``stride`` cells, row by row.

    Raises:
        ValueError: If the stride does not divide the image.
    """
    if height % stride or width % stride:
        raise ValueError(f"a stride of {stride} does not divide an image of {height}×{width}")
    rows = (torch.arange(height // stride, device=device) + 0.5) * stride
    columns = (torch.arange(width // stride, device=device) + 0.5) * stride
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((u, v), dim=-1).reshape(-1, 2)


def pixel_rays(pixel_from_lidar: Float[Tensor, "B 4 4"], pixels: Float[Tensor, "B R 2"]) -> Rays:
    """Rays from the camera center through pixels.

    Args:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1).
        pixels: (u, v); pixel centers are at integer + 0.5.
    """
    # On a GPU, the check for a singular matrix would wait for all work that is queued.
    on_cpu = pixel_from_lidar.device.type == "cpu"
    lidar_from_pixel, _ = torch.linalg.inv_ex(pixel_from_lidar.float(), check_errors=on_cpu)
    ones = torch.ones_like(pixels[..., :1])
    directions = torch.cat((pixels, ones), dim=-1) @ lidar_from_pixel[:, :3, :3].transpose(1, 2)
    origins = lidar_from_pixel[:, None, :3, 3].expand_as(directions)
    return Rays(origins, directions)
