"""The first labelled voxel along each ray: the 2D maps that supervise every rendering."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from model.render.rays import Rays
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE


class FirstHit(NamedTuple):
    """What the rays meet first.

    Attributes:
        labels: Class of the first voxel that is not free; 255 where that voxel is ignored or the
            ray leaves the grid without meeting one.
        depth_m: Camera depth at which the ray enters that voxel [m]; 0 where it meets none.
        is_valid: Rays whose first voxel has a class.
    """

    labels: UInt8[Tensor, "B R"]
    depth_m: Float[Tensor, "B R"]
    is_valid: Bool[Tensor, "B R"]


def first_hit(
    occupancy: UInt8[Tensor, "B X Y Z"], grid: VoxelGrid, rays: Rays, *, chunk: int = 32768
) -> FirstHit:
    """Exact traversal of the label grid.

    A ray changes voxel only where it crosses a face plane, so the sorted depths of its crossings
    with all planes cut it into one piece a voxel. A ray that starts inside an occupied voxel hits
    it at depth 0.

    Args:
        occupancy: Labels of the grid; 0 free, 255 ignored.
        grid: Where the voxels stand.
        rays: Rays in the LiDAR frame.
        chunk: Rays handled at once; each takes about X + Y + Z numbers of memory.
    """
    pieces = [
        _first_hit(occupancy, grid, Rays(origins, directions))
        for origins, directions in zip(
            rays.origins.split(chunk, dim=1), rays.directions.split(chunk, dim=1), strict=True
        )
    ]
    return FirstHit(*(torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)))


def _first_hit(occupancy: Tensor, grid: VoxelGrid, rays: Rays) -> FirstHit:
    start = grid.voxel_from_metres(rays.origins.double())
    step = rays.directions.double() / grid.voxel_m  # voxels per metre of camera depth
    entries, centers = _voxel_intervals(start, step, grid.shape)  # (B, R, S) each

    voxels = torch.floor(start[:, :, None] + centers[..., None] * step[:, :, None]).long()
    shape = torch.tensor(grid.shape, device=voxels.device)
    is_inside = ((voxels >= 0) & (voxels < shape)).all(-1) & centers.isfinite()
    x, y, z = voxels.where(is_inside[..., None], 0).unbind(-1)
    batch = torch.arange(len(occupancy), device=voxels.device)[:, None, None]
    labels = torch.where(is_inside, occupancy[batch, x, y, z], FREE)

    is_hit = labels != FREE
    first = is_hit.int().argmax(dim=-1, keepdim=True)
    any_hit = is_hit.any(-1)
    label = torch.where(any_hit, labels.gather(-1, first)[..., 0], IGNORE)
    is_valid = any_hit & (label != IGNORE)
    depth = torch.where(any_hit, entries.gather(-1, first)[..., 0], 0.0).float()
    return FirstHit(label.to(torch.uint8), depth, is_valid)


def _voxel_intervals(
    start: Float[Tensor, "B R 3"], step: Float[Tensor, "B R 3"], shape: tuple[int, int, int]
) -> tuple[Float[Tensor, "B R S"], Float[Tensor, "B R S"]]:
    """Depths where each ray enters its successive voxels, and the middles of those pieces.

    Crossings behind the origin move to the origin; those of an axis that the ray runs parallel to
    move to infinity. Pieces between two of either kind have no voxel: their middle is at the
    origin, in the origin's own voxel, or not finite.
    """
    crossings = []
    for axis, count in enumerate(shape):
        planes = torch.arange(count + 1, device=start.device, dtype=start.dtype)
        depth = (planes - start[..., axis, None]) / step[..., axis, None]
        crossings.append(depth.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf))
    depths = torch.cat(crossings, dim=-1).clamp_min(0.0)
    depths = torch.nn.functional.pad(depths, (1, 0)).sort(dim=-1).values
    entries, exits = depths[..., :-1], depths[..., 1:]
    return entries, 0.5 * (entries + exits)
