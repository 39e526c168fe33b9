"""Views of the labels, which supervise every rendering: their cameras, and what these see."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.render.first_hit import FirstHit, first_hit
from model.render.rays import Rays, pixel_centers, pixel_rays
from utils.geometry import VoxelGrid, as_array

DISPLACEMENT_M = (0.0, 2.0, 1.0)
"""Offset of the displaced camera from the real one, in the LiDAR frame: left and up [m]."""
BIRD_HEIGHT_M = 60.0
"""Height of the bird's-eye camera above the grid's top [m]."""
VIRTUAL_CAMERAS = ("displaced", "bird")


class Views(NamedTuple):
    """Label images of every frame of a batch, all of one size.

    Attributes:
        pixel_from_lidar: Projections into these images, the real cameras' first.
        height: Rows.
        width: Columns.
        rays: Rays through the pixel centers: image by image, row by row.
        hit: The first labeled voxel along those rays.
    """

    pixel_from_lidar: Float[Tensor, "B N 4 4"]
    height: int
    width: int
    rays: Rays
    hit: FirstHit


def label_views(
    occupancy: UInt8[Tensor, "B X Y Z"],
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    *,
    stride: int = 1,
    virtual: Sequence[str] = (),
) -> Views:
    """Render the labels.

    Args:
        occupancy: Labels; 0 free, 255 ignored.
        grid: Grid of the labels.
        pixel_from_lidar: The real cameras' projections.
        image_size: Height and width of the real images [px].
        stride: Pixels of those along each edge of one rendered pixel.
        virtual: Additional cameras, of ``VIRTUAL_CAMERAS``: "displaced" is the first real camera,
            moved to the side and up; "bird" looks straight down on the whole grid.

    Raises:
        ValueError: If the stride does not divide the images, or a camera is unknown.
    """
    pixels = pixel_centers(*image_size, stride=stride, device=occupancy.device) / stride
    height, width = image_size[0] // stride, image_size[1] // stride
    real = pixel_from_lidar.float()
    real = real * as_array((1 / stride, 1 / stride, 1.0, 1.0), real)[:, None]
    cameras = [real, *(_virtual(name, real, grid, (height, width)) for name in virtual)]
    projections = torch.cat(cameras, dim=1)
    batch, count = projections.shape[:2]
    flat = pixel_rays(projections.flatten(0, 1), pixels.expand(batch * count, -1, -1))
    rays = Rays(*(part.reshape(batch, -1, 3) for part in flat))
    return Views(projections, height, width, rays, first_hit(occupancy, grid, rays))


def _virtual(
    name: str, real: Float[Tensor, "B N 4 4"], grid: VoxelGrid, size: tuple[int, int]
) -> Float[Tensor, "B 1 4 4"]:
    if name == "displaced":
        displaced_from_lidar = torch.eye(4)
        displaced_from_lidar[:3, 3] = -torch.tensor(DISPLACEMENT_M)
        return real[:, :1] @ displaced_from_lidar.to(real.device, non_blocking=True)
    if name == "bird":
        camera = bird_camera(grid, size).to(real.device, non_blocking=True)
        return camera.expand(len(real), 1, 4, 4)
    raise ValueError(f"virtual cameras are {VIRTUAL_CAMERAS}, got '{name}'")


def bird_camera(grid: VoxelGrid, size: tuple[int, int]) -> Float[Tensor, "4 4"]:
    """Projection of a camera above a grid's center that sees all of its top.

    Args:
        grid: The grid; its far end (x) is up in the image.
        size: Height and width of the image [px].
    """
    height, width = size
    extent_m = [n * grid.voxel_m for n in grid.shape]
    middle = [low + extent / 2 for low, extent in zip(grid.origin_m, extent_m, strict=True)]
    top_m = grid.origin_m[2] + extent_m[2]
    focal = BIRD_HEIGHT_M * min(height / extent_m[0], width / extent_m[1])
    # Camera axes: x right (−y of the LiDAR), y down (−x), z down on the scene.
    rows = [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
    cam_from_lidar = torch.eye(4)
    cam_from_lidar[:3, :3] = torch.tensor(rows)
    eye = torch.tensor([middle[0], middle[1], top_m + BIRD_HEIGHT_M])
    cam_from_lidar[:3, 3] = -cam_from_lidar[:3, :3] @ eye
    pixel_from_cam = torch.diag(torch.tensor([focal, focal, 1.0, 1.0]))
    pixel_from_cam[0, 2], pixel_from_cam[1, 2] = width / 2, height / 2
    return pixel_from_cam @ cam_from_lidar
