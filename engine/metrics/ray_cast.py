"""LiDAR rays through a label grid: the first occupied voxel of each, and where the ray leaves it.

The walk is that of the renderer which SparseOcc and FlashOCC share (from 4D-occ-forecasting), so
that every ray ends in the same voxel and at the same depth as theirs:

- origins and end points are rounded to single precision before directions are taken from them;
- the origin's voxel comes first, even where the ray only touches it; an origin on a face belongs
  to the voxel above that face;
- through an edge a ray crosses the z face first, then y, then x, and meets the voxels between;
- an origin outside the grid gets there by the same steps. Its voxel is cut towards zero, so that
  less than one voxel below the grid is still in the lowest layer;
- a ray that never meets the grid has the label of voxel (0, 0, 0), and a depth of -1 voxel.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, Num, UInt8
from torch import Tensor

from utils.geometry import VoxelGrid

AZIMUTHS = 360
_STEEP_PITCHES = 10
_TOP_PITCH_RAD = 0.21

_STEPS = 16
"""Voxels that rays pass between two clearances of those that have ended."""
_OUTSIDE = -1
"""In the border that is put around the grid; no label."""
_FAR = torch.finfo(torch.float64).max
"""Distance to the faces that a ray runs parallel to."""

Axes = tuple[Tensor, Tensor, Tensor]
"""A tensor for each of x, y, z."""


class VoxelRays(NamedTuple):
    """Rays in voxel coordinates, one a row.

    Attributes:
        starts: Origins.
        ends: Points 1 m along the rays.
    """

    starts: Float32[Tensor, "R 3"]
    ends: Float32[Tensor, "R 3"]


class RayEnds(NamedTuple):
    """Where rays end.

    Attributes:
        labels: Label of the first voxel that is not free; the free label where there is none.
        depths: Distance from the origin to where the ray leaves that voxel, or else the grid, in
            voxels.
    """

    labels: UInt8[Tensor, " R"]
    depths: Float32[Tensor, " R"]


def lidar_pitches() -> list[float]:
    """Angles of the 39 beams above the horizon [rad], from -45° to 12.5°.

    The lowest ten meet level ground 1, 2, … 10 sensor heights away; the others follow at the last
    distance between two of those, up to the highest beam of nuScenes' LiDAR.
    """
    pitches = [math.atan(reach) - math.pi / 2 for reach in range(1, _STEEP_PITCHES + 1)]
    while pitches[-1] < _TOP_PITCH_RAD:
        pitches.append(pitches[-1] + (pitches[-1] - pitches[-2]))
    return pitches


def lidar_directions() -> Float32[Tensor, "K 3"]:
    """Unit vectors of the 14,040 rays from an origin: each pitch at 360 azimuths, 1° apart."""
    pitch = torch.tensor(lidar_pitches(), dtype=torch.float64)[:, None]
    azimuth = torch.deg2rad(torch.arange(AZIMUTHS, dtype=torch.float64))
    x, y = pitch.cos() * azimuth.cos(), pitch.cos() * azimuth.sin()
    return torch.stack((x, y, pitch.sin().expand_as(x)), dim=-1).reshape(-1, 3).float()


def rays_in_grid(
    origins_m: Float[Tensor, "M 3"], directions: Float32[Tensor, "K 3"], grid: VoxelGrid
) -> VoxelRays:
    """All directions from each origin in turn.

    Args:
        origins_m: Origins in the grid's frame [m]; single or double precision, as they are stored.
        directions: Unit vectors.
        grid: Where the voxels stand.
    """
    device = origins_m.device
    corner = torch.tensor(grid.origin_m, dtype=torch.float32, device=device)
    edge = torch.tensor(grid.voxel_m, dtype=torch.float32, device=device)
    ends_m = origins_m[:, None] + directions.to(device)  # (M, K, 3)
    ends = ((ends_m - corner) / edge).float()
    starts = ((origins_m - corner) / edge).float()[:, None].expand_as(ends)
    return VoxelRays(starts.reshape(-1, 3), ends.reshape(-1, 3))


def cast_rays(labels: UInt8[Tensor, "X Y Z"], rays: VoxelRays, *, free_label: int) -> RayEnds:
    """Follow each ray to the first voxel that is not free.

    Args:
        labels: Labels of the grid.
        rays: Rays in the grid's voxel coordinates, on the same device.
        free_label: Label of free voxels.
    """
    voxels, signs, crossings, spacings = _start(rays)
    voxels, crossings = _approach(voxels, signs, crossings, spacings, labels.shape)
    end_labels = labels[0, 0, 0].expand(len(voxels)).clone()
    depths = torch.full_like(crossings[:, 0], -1.0)

    ray = (~_is_off(voxels, labels.shape)).all(-1).nonzero()[:, 0]
    padded = torch.nn.functional.pad(labels.to(torch.int16), (1,) * 6, value=_OUTSIDE)
    strides = torch.tensor(padded.stride(), dtype=torch.int32, device=labels.device)
    cells = ((voxels[ray].int() + 1) * strides).sum(-1, dtype=torch.int32)
    steps = _by_axis(signs[ray].int() * strides)
    nexts, gaps = _by_axis(crossings[ray]), _by_axis(spacings[ray])
    contents = padded.flatten()
    while len(ray):
        has_ended = torch.zeros_like(cells, dtype=torch.bool)
        label, depth = torch.zeros_like(cells, dtype=torch.int16), torch.zeros_like(nexts[0])
        for _ in range(_STEPS):
            leaving, faces = _nearest(nexts)
            step = torch.where(faces[2], steps[2], torch.where(faces[1], steps[1], steps[0]))
            here, ahead = contents.index_select(0, cells), contents.index_select(0, cells + step)
            ends_here = ~has_ended & ((here != free_label) | (ahead == _OUTSIDE))
            label = torch.where(ends_here, here, label)
            depth = torch.where(ends_here, leaving, depth)
            has_ended = has_ended | ends_here
            cells = torch.where(has_ended, cells, cells + step)
            nexts = _advance(nexts, gaps, faces)
        end_labels[ray], depths[ray] = label.to(torch.uint8), depth
        goes_on = (~has_ended).nonzero()[:, 0]
        ray, cells = ray[goes_on], cells[goes_on]
        nexts, gaps, steps = (_rows(axes, goes_on) for axes in (nexts, gaps, steps))
    return RayEnds(end_labels, depths.float())


def _start(
    rays: VoxelRays,
) -> tuple[
    Int64[Tensor, "R 3"], Int64[Tensor, "R 3"], Float64[Tensor, "R 3"], Float64[Tensor, "R 3"]
]:
    """Each ray's first voxel, the signs of its steps, and how far off the faces are.

    Returns:
        The voxel, the step along each axis (-1 or 1), the distance to the next face of each axis
        and the distance between two of them.
    """
    starts = rays.starts.double()
    along = rays.ends.double() - starts
    directions = along / along.square().sum(-1, keepdim=True).sqrt()
    voxels = starts.trunc()
    signs = torch.where(directions >= 0, 1.0, -1.0).double()
    is_crossing = directions != 0
    crossings = torch.where(is_crossing, (voxels + (signs > 0) - starts) / directions, _FAR)
    spacings = torch.where(is_crossing, signs / directions, _FAR)
    return voxels.long(), signs.long(), crossings, spacings


def _approach(
    voxels: Int64[Tensor, "R 3"],
    signs: Int64[Tensor, "R 3"],
    crossings: Float64[Tensor, "R 3"],
    spacings: Float64[Tensor, "R 3"],
    shape: tuple[int, ...],
) -> tuple[Int64[Tensor, "R 3"], Float64[Tensor, "R 3"]]:
    """Move the rays that start outside the grid up to it; those that miss it stay outside.

    Returns:
        Voxels and distances to the next faces, as in ``_start``.
    """
    voxels, crossings = voxels.clone(), crossings.clone()
    ray = torch.arange(len(voxels), device=voxels.device)
    while True:
        is_off = _is_off(voxels[ray], shape)
        is_passed = (voxels[ray] < 0) != (signs[ray] > 0)
        is_lost = is_off & (is_passed | (spacings[ray] == _FAR))
        ray = ray[is_off.any(-1) & ~is_lost.any(-1)]
        if not len(ray):
            return voxels, crossings
        _, faces = _nearest(_by_axis(crossings[ray]))
        is_crossed = torch.stack(faces, dim=-1)
        voxels[ray] += signs[ray] * is_crossed
        crossings[ray] += torch.where(is_crossed, spacings[ray], 0.0)


def _is_off(voxels: Int64[Tensor, "R 3"], shape: tuple[int, ...]) -> Bool[Tensor, "R 3"]:
    """Along which axes voxels lie off the grid."""
    return (voxels < 0) | (voxels >= torch.tensor(shape, device=voxels.device))


def _nearest(nexts: Axes) -> tuple[Float64[Tensor, " R"], Axes]:
    """Distance to the next face of any axis, and whether it is that of x, y or z."""
    x, y, z = nexts
    distance = torch.minimum(torch.minimum(x, y), z)
    is_z = z == distance
    is_y = (y == distance) & ~is_z
    return distance, (~(is_y | is_z), is_y, is_z)


def _advance(nexts: Axes, gaps: Axes, faces: Axes) -> Axes:
    """Distances to the next faces once those marked are crossed."""
    x, y, z = (
        torch.where(face, distance + gap, distance)
        for distance, gap, face in zip(nexts, gaps, faces, strict=True)
    )
    return x, y, z


def _by_axis(rows: Num[Tensor, "R 3"]) -> Axes:
    """The columns of x, y, z, each contiguous."""
    x, y, z = rows.T.contiguous()
    return x, y, z


def _rows(axes: Axes, index: Int64[Tensor, " K"]) -> Axes:
    """Some rays of each axis."""
    x, y, z = (axis.index_select(0, index) for axis in axes)
    return x, y, z
