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


NUDGE = 1e-6
"""A ray's way past a face, in voxels, after which the voxel that it is in is looked up. It settles
which voxel comes next at an edge or a corner, where rounding could tell either way."""


def first_hit(
    occupancy: UInt8[Tensor, "B X Y Z"], grid: VoxelGrid, rays: Rays, *, chunk: int = 32768
) -> FirstHit:
    """Exact traversal of the label grid.

    A ray comes into a voxel only where it crosses a face plane, so that the voxels behind its
    crossings with all planes, and the one that it starts in, are all that it meets; the hit is the
    nearest of them that is not free. A ray that starts inside an occupied voxel hits it at depth 0;
    one that starts among ignored voxels, as in the unseen space around a car, first leaves them.

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
    at_start = _visit(occupancy, start, step, torch.zeros_like(start[..., :1]))
    visits = [at_start]
    for axis, count in enumerate(grid.shape):
        planes = torch.arange(count + 1, device=start.device, dtype=start.dtype)
        depths = (planes - start[..., axis, None]) / step[..., axis, None]
        visits.append(_visit(occupancy, start, step, depths))
    # Rays among ignored voxels see from the first other one on; the rest from the start.
    is_blind = (at_start.depths.isfinite() & (at_start.labels == IGNORE))[..., 0]
    seen_from = _nearest([visit.where(visit.labels != IGNORE) for visit in visits]).depths
    seen_from = seen_from.where(is_blind, 0.0)[..., None]
    depth, label = _nearest(
        [visit.where((visit.labels != FREE) & (visit.depths >= seen_from)) for visit in visits]
    )
    any_hit = depth.isfinite()
    label = label.where(any_hit, IGNORE)
    return FirstHit(label, depth.where(any_hit, 0.0).float(), any_hit & (label != IGNORE))


class _Visit(NamedTuple):
    """Voxels along rays: where each is entered, infinitely far if it is none, and its label."""

    depths: Float[Tensor, "B R *S"]
    labels: UInt8[Tensor, "B R *S"]

    def where(self, counts: Bool[Tensor, "B R S"]) -> "_Visit":
        return _Visit(self.depths.where(counts, torch.inf), self.labels)


def _nearest(visits: list[_Visit]) -> _Visit:
    """The nearest voxel along each ray, axis by axis first, which spares one list of them all."""
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
    """The voxels just behind depths [m].

    Depths before the origin, and those that are not finite because the ray runs along the planes,
    count as in no voxel.
    """
    counts = depths.isfinite() & (depths >= 0)
    behind = torch.where(counts, depths, 0.0) + NUDGE / step.abs().amax(-1, keepdim=True)
    index = torch.zeros_like(behind)  # Whole numbers far below 2⁵³.
    for axis, count in enumerate(occupancy.shape[1:]):
        along = torch.addcmul(start[..., axis, None], behind, step[..., axis, None]).floor()
        in_grid = along.clamp(0, count - 1)
        counts = counts & (along == in_grid)
        index = torch.add(in_grid, index, alpha=count)
    labels = occupancy.flatten(1).gather(1, index.long().flatten(1)).view_as(counts)
    return _Visit(depths.where(counts, torch.inf), labels)
