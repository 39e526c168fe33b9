"""The first labeled voxel along each ray: the 2D maps that supervise all renderings."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from model.render.rays import Rays
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE


class FirstHit(NamedTuple):
    """First hits of rays.

    Attributes:
        labels: Label of the first voxel that is not free; 255 if that voxel is ignored or the ray
            leaves the grid without a hit.
        depth_m: Camera depth at which the ray enters that voxel [m]; 0 without a hit.
        is_valid: Whether the ray hits a voxel that is not ignored.
    """

    labels: UInt8[Tensor, "B R"]
    depth_m: Float[Tensor, "B R"]
    is_valid: Bool[Tensor, "B R"]


NUDGE = 1e-6
"""Step past a face before the voxel is looked up, in voxels. It decides which voxel comes next at
an edge or a corner, where rounding is arbitrary."""


def first_hit(
    occupancy: UInt8[Tensor, "B X Y Z"], grid: VoxelGrid, rays: Rays, *, chunk: int = 32768
) -> FirstHit:
    """Find the first hit of each ray by exact traversal of the label grid.

    A ray enters a voxel only where it crosses a face plane. So the voxels behind its crossings with
    all planes, and the one that it starts in, are all that it visits; the hit is the nearest of
    them that is not free. A ray that starts inside an occupied voxel hits it at depth 0. One that
    starts among ignored voxels, e.g. in the unseen space around the vehicle, first leaves them.

    Args:
        occupancy: Labels of the grid; 0 free, 255 ignored.
        grid: The label grid.
        rays: Rays in the LiDAR frame.
        chunk: Rays per chunk; each needs memory for about X + Y + Z numbers.
    """
    pieces = [
        _first_hit(occupancy, grid, Rays(origins, directions))
        for origins, directions in zip(
            rays.origins.split(chunk, dim=1), rays.directions.split(chunk, dim=1), strict=True
        )
    ]
    return FirstHit(*(torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)))


def _first_hit(occupancy: Tensor, grid: VoxelGrid, rays: Rays) -> FirstHit:
    start = grid.voxel_from_meters(rays.origins.double())
    step = rays.directions.double() / grid.voxel_m  # voxels per meter of camera depth
    at_start = _visit(occupancy, start, step, torch.zeros_like(start[..., :1]))
    visits = [at_start]
    for axis, count in enumerate(grid.shape):
        planes = torch.arange(count + 1, device=start.device, dtype=start.dtype)
        depths = (planes - start[..., axis, None]) / step[..., axis, None]
        visits.append(_visit(occupancy, start, step, depths))
    # Rays that start among ignored voxels see from the first other voxel on.
    is_blind = (at_start.depths.isfinite() & (at_start.labels == IGNORE))[..., 0]
    visible_from = _nearest([visit.where(visit.labels != IGNORE) for visit in visits]).depths
    visible_from = visible_from.where(is_blind, 0.0)[..., None]
    depth, label = _nearest(
        [visit.where((visit.labels != FREE) & (visit.depths >= visible_from)) for visit in visits]
    )
    any_hit = depth.isfinite()
    label = label.where(any_hit, IGNORE)
    return FirstHit(label, depth.where(any_hit, 0.0).float(), any_hit & (label != IGNORE))


class _Visit(NamedTuple):
    """Voxels along rays: entry depth, infinite if there is no voxel, and label."""

    depths: Float[Tensor, "B R *S"]
    labels: UInt8[Tensor, "B R *S"]

    def where(self, is_kept: Bool[Tensor, "B R S"]) -> "_Visit":
        return _Visit(self.depths.where(is_kept, torch.inf), self.labels)


def _nearest(visits: list[_Visit]) -> _Visit:
    """Return the nearest voxel along each ray; reducing axis by axis avoids a concatenation."""
    for_axis = [visit.depths.min(dim=-1) for visit in visits]
    depths, axis = torch.stack([nearest.values for nearest in for_axis]).min(dim=0)
    labels = [
        visit.labels.gather(-1, nearest.indices[..., None])[..., 0]
        for visit, nearest in zip(visits, for_axis, strict=True)
    ]
    return _Visit(depths, torch.stack(labels).gather(0, axis[None])[0])


def _visit(
    occupancy: UInt8[Tensor, "B X Y Z"],
    start: Float[Tensor, "B R 3"],
    step: Float[Tensor, "B R 3"],
    depths: Float[Tensor, "B R S"],
) -> _Visit:
    """Look up the voxels just behind depths [m].

    Depths behind the origin, and infinite or NaN ones of rays parallel to the planes, give no
    voxel.
    """
    in_voxel = depths.isfinite() & (depths >= 0)
    behind = torch.where(in_voxel, depths, 0.0) + NUDGE / step.abs().amax(-1, keepdim=True)
    index = torch.zeros_like(behind)  # Integers far below 2⁵³.
    for axis, count in enumerate(occupancy.shape[1:]):
        along = torch.addcmul(start[..., axis, None], behind, step[..., axis, None]).floor()
        in_grid = along.clamp(0, count - 1)
        in_voxel = in_voxel & (along == in_grid)
        index = torch.add(in_grid, index, alpha=count)
    labels = occupancy.flatten(1).gather(1, index.long().flatten(1)).view_as(in_voxel)
    return _Visit(depths.where(in_voxel, torch.inf), labels)
