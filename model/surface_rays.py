"""Supervision by LiDAR points: rays that are free before their point and end at it."""

from math import ceil, prod

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from dataset.sample import LidarRays
from loss.termination import termination_nll
from model.novel_view import log_free_of, log_occupied_of, occupancy_density
from model.render.rays import Rays
from utils.geometry import VoxelGrid, project_points


def ray_term(
    logits: Float[Tensor, "B classes X Y Z"], grid: VoxelGrid, rays: LidarRays
) -> Float[Tensor, ""]:
    """Negative log-likelihood of the points under the predicted occupancy.

    A voxel that rays pass counts at most as often as one that rays end in. Otherwise the many rays
    through free space outweigh the few that end, and what is uncertain becomes free.

    Args:
        logits: Class scores, which give P(occupied) and with it the density.
        grid: Grid of the logits.
        rays: The rays.
    """
    density = occupancy_density(log_free_of(logits), grid.voxel_m)[:, 0]
    points_m, length_m = free_segments(rays.origins_m, rays.ends_m, grid)
    is_inside = length_m > 0
    has_end = grid.contains(rays.ends_m) & is_inside
    passed, ended = voxel_of(points_m, grid), voxel_of(rays.ends_m, grid)
    is_free = ~at_voxels(rays.has_point, passed) & is_inside[..., None]
    enters = torch.ones_like(is_free)  # Each voxel of a ray once.
    enters[..., 1:] = passed[..., 1:] != passed[..., :-1]
    passes = sum_at_voxels((enters & is_free).float(), passed, grid)
    ends = sum_at_voxels(has_end.float(), ended, grid)
    share = ends.sum((1, 2, 3)) / (ends > 0).sum((1, 2, 3)).clamp(min=1)  # Rays that end in one.
    even = (share.clamp(min=1.0)[:, None, None, None] / passes.clamp(min=1.0)).clamp(max=1.0)
    return termination_nll(
        at_voxels(density * even, passed) * length_m[..., None],
        is_free,
        at_voxels(log_occupied_of(logits), ended),
        has_end,
    )


def voxel_of(points_m: Float[Tensor, "B *any 3"], grid: VoxelGrid) -> Int64[Tensor, "B *any"]:
    """Index of the voxel of each point in a flattened volume; of the nearest if outside."""
    last = torch.tensor(grid.shape, device=points_m.device) - 1
    x, y, z = grid.voxel_from_meters(points_m).long().clamp(min=last * 0, max=last).unbind(-1)
    return (x * grid.shape[1] + y) * grid.shape[2] + z


def at_voxels(
    volume: Shaped[Tensor, "B X Y Z"], voxels: Int64[Tensor, "B *any"]
) -> Shaped[Tensor, "B *any"]:
    """Values of a volume at voxels, by their index in the flattened volume."""
    return volume.flatten(1).gather(1, voxels.flatten(1)).view(voxels.shape)


def sum_at_voxels(
    values: Float[Tensor, "B *any"], voxels: Int64[Tensor, "B *any"], grid: VoxelGrid
) -> Float[Tensor, "B X Y Z"]:
    """Sum values by voxel, given by its index in the flattened volume."""
    total = values.new_zeros(len(values), prod(grid.shape))
    total = total.scatter_add(1, voxels.flatten(1), values.flatten(1))
    return total.unflatten(1, grid.shape)


def free_segments(
    origins_m: Float[Tensor, "B R 3"], ends_m: Float[Tensor, "B R 3"], grid: VoxelGrid
) -> tuple[Float[Tensor, "B R S 3"], Float[Tensor, "B R"]]:
    """Cut the part of each ray that is before its end and inside the grid into S segments.

    Args:
        origins_m: Where rays begin.
        ends_m: Where they end.
        grid: The grid; S is such that no segment is longer than half a voxel.

    Returns:
        Middle of each segment [m], and the length of a ray's segments [m].
    """
    away_m = ends_m - origins_m
    enter, leave = inside_span(origins_m, away_m, grid)
    count = ceil(2 * sum(n**2 for n in grid.shape) ** 0.5)
    span = (leave.clamp(max=1.0) - enter.clamp(min=0.0)).clamp(min=0.0)
    share = (torch.arange(count, device=away_m.device) + 0.5) / count
    where = enter.clamp(min=0.0)[..., None] + span[..., None] * share
    line = Rays(origins_m, away_m)
    return line.at(where), span * away_m.norm(dim=-1) / count


def inside_span(
    origins_m: Float[Tensor, "B R 3"], directions: Float[Tensor, "B R 3"], grid: VoxelGrid
) -> tuple[Float[Tensor, "B R"], Float[Tensor, "B R"]]:
    """Where rays enter and leave the box of a grid, in lengths of their directions.

    A ray that misses the box leaves it before it enters.
    """
    low, high = (origins_m.new_tensor(corner) for corner in (grid.origin_m, grid.end_m))
    slope = torch.where(directions.abs() < 1e-9, 1e-9, directions)
    to_low, to_high = (low - origins_m) / slope, (high - origins_m) / slope
    return torch.minimum(to_low, to_high).amax(-1), torch.maximum(to_low, to_high).amin(-1)


def depth_of_rays(
    rays: LidarRays, pixel_from_lidar: Float[Tensor, "B N 4 4"], size: tuple[int, int], stride: int
) -> Float[Tensor, "B N h w"]:
    """Camera depth of the nearest own LiDAR point in each cell of a feature map [m]; 0 without.

    Args:
        rays: The rays.
        pixel_from_lidar: Projections into the images.
        size: Height and width of the images [px].
        stride: Pixels along each edge of a cell.
    """
    rows, columns = size[0] // stride, size[1] // stride
    cameras = pixel_from_lidar.shape[1]
    ends = rays.ends_m[:, None].expand(-1, cameras, -1, -1)
    pixels, depth_m = project_points(pixel_from_lidar.float(), ends)
    column, row = torch.floor(pixels / stride).unbind(-1)
    is_seen = (row >= 0) & (row < rows) & (column >= 0) & (column < columns) & (depth_m > 0)
    is_seen &= rays.is_own[:, None]
    cell = torch.where(is_seen, row * columns + column, 0).long()
    distant = torch.where(is_seen, depth_m, torch.inf)
    nearest = distant.new_full((*depth_m.shape[:2], rows * columns), torch.inf)
    nearest = nearest.scatter_reduce(-1, cell, distant, "amin")
    return torch.where(nearest.isinf(), 0.0, nearest).unflatten(-1, (rows, columns))
