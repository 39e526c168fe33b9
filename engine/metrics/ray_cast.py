"""Cast LiDAR rays through a label grid: find the first occupied voxel, and where the ray leaves it.

Traversal follows the renderer that SparseOcc and FlashOCC share (from 4D-occ-forecasting), so every
ray ends in the same voxel and at the same depth:

- origins and end points are rounded to single precision before directions are computed;
- the origin's voxel comes first, even if the ray only touches it; an origin on a face belongs to
  the voxel above that face;
- through an edge, a ray crosses the z face first, then y, then x, and visits the voxels in between;
- a ray from outside the grid enters it by the same steps. Its first voxel is truncated toward zero,
  so less than one voxel below the grid counts as the lowest layer;
- a ray that misses the grid has the label of voxel (0, 0, 0) and a depth of -1 voxel.
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
"""Steps between removals of the rays that have ended."""
_OUTSIDE = -1
"""Value of the padding around the grid; not a label."""
_FAR = torch.finfo(torch.float64).max
"""Distance to faces that are parallel to the ray."""

Axes = tuple[Tensor, Tensor, Tensor]
"""One tensor each for x, y and z."""


class VoxelRays(NamedTuple):
    """Rays in voxel coordinates, one per row.

    Attributes:
        starts: Origins.
        ends: Points 1 m along the rays.
    """

    starts: Float32[Tensor, "R 3"]
    ends: Float32[Tensor, "R 3"]


class RayEnds(NamedTuple):
    """Where rays end.

    Attributes:
        labels: Label of the first voxel that is not free; the free label if there is none.
        depths: Distance from the origin to where the ray leaves that voxel, or the grid if there is
            none, in voxels.
    """

    labels: UInt8[Tensor, " R"]
    depths: Float32[Tensor, " R"]


def lidar_pitches() -> list[float]:
    """Return the elevation angles of the 39 beams [rad], from -45° to 12.5°.

    The lowest ten meet level ground 1, 2, … 10 sensor heights away; the others continue in steps of
    the last difference, up to the highest beam of nuScenes' LiDAR.
    """
    pitches = [math.atan(reach) - math.pi / 2 for reach in range(1, _STEEP_PITCHES + 1)]
    while pitches[-1] < _TOP_PITCH_RAD:
        pitches.append(pitches[-1] + (pitches[-1] - pitches[-2]))
    return pitches


def lidar_directions() -> Float32[Tensor, "K 3"]:
    """Return the unit vectors of the 14,040 rays: each pitch at 360 azimuths, 1° apart."""
    pitch = torch.tensor(lidar_pitches(), dtype=torch.float64)[:, None]
    azimuth = torch.deg2rad(torch.arange(AZIMUTHS, dtype=torch.float64))
    x, y = pitch.cos() * azimuth.cos(), pitch.cos() * azimuth.sin()
    return torch.stack((x, y, pitch.sin().expand_as(x)), dim=-1).reshape(-1, 3).float()


def rays_in_grid(
    origins_m: Float[Tensor, "M 3"], directions: Float32[Tensor, "K 3"], grid: VoxelGrid
) -> VoxelRays:
    """Build a ray from each origin in each direction.

    Args:
        origins_m: Origins in the grid's frame [m], in the precision they are stored in.
        directions: Unit vectors.
        grid: The voxel grid.
    """
    device = origins_m.device
    corner = torch.tensor(grid.origin_m, dtype=torch.float32, device=device)
    edge = torch.tensor(grid.voxel_m, dtype=torch.float32, device=device)
    ends_m = origins_m[:, None] + directions.to(device)  # (M, K, 3)
    ends = ((ends_m - corner) / edge).float()
    starts = ((origins_m - corner) / edge).float()[:, None].expand_as(ends)
    return VoxelRays(starts.reshape(-1, 3), ends.reshape(-1, 3))


def cast_rays(
    labels: UInt8[Tensor, "N X Y Z"],
    rays: VoxelRays,
    grids: Int64[Tensor, " R"],
    *,
    free_label: int,
) -> RayEnds:
    """Follow each ray to the first voxel that is not free.

    Args:
        labels: Labels of grids, such as those of several frames.
        rays: Rays in a grid's voxel coordinates, on the same device.
        grids: Index of each ray's grid.
        free_label: Label of free voxels.
    """
    shape = labels.shape[1:]
    voxels, signs, crossings, spacings = _start(rays)
    voxels, crossings = _approach(voxels, signs, crossings, spacings, shape)
    end_labels = labels[:, 0, 0, 0][grids]
    depths = torch.full_like(crossings[:, 0], -1.0)

    ray = (~_is_outside(voxels, shape)).all(-1).nonzero()[:, 0]
    padded = torch.nn.functional.pad(labels.to(torch.int16), (1,) * 6, value=_OUTSIDE)
    stride, *strides_xyz = padded.stride()
    strides = torch.tensor(strides_xyz, dtype=torch.int32, device=labels.device)
    cells = ((voxels[ray].int() + 1) * strides).sum(-1, dtype=torch.int32)
    cells += grids[ray].int() * stride
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
        active = (~has_ended).nonzero()[:, 0]
        ray, cells = ray[active], cells[active]
        nexts, gaps, steps = (_rows(axes, active) for axes in (nexts, gaps, steps))
    return RayEnds(end_labels, depths.float())


def _start(
    rays: VoxelRays,
) -> tuple[
    Int64[Tensor, "R 3"], Int64[Tensor, "R 3"], Float64[Tensor, "R 3"], Float64[Tensor, "R 3"]
]:
    """Initialize the traversal.

    Returns:
        Per ray: the first voxel, the step along each axis (-1 or 1), the distance to the next face
        of each axis, and the distance between faces.
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
    """Advance rays that start outside to the grid; those that miss it stay outside.

    Returns:
        Voxels and distances to the next faces, as in ``_start``.
    """
    voxels, crossings = voxels.clone(), crossings.clone()
    ray = torch.arange(len(voxels), device=voxels.device)
    while True:
        is_outside = _is_outside(voxels[ray], shape)
        is_passed = (voxels[ray] < 0) != (signs[ray] > 0)
        is_lost = is_outside & (is_passed | (spacings[ray] == _FAR))
        ray = ray[is_outside.any(-1) & ~is_lost.any(-1)]
        if not len(ray):
            return voxels, crossings
        _, faces = _nearest(_by_axis(crossings[ray]))
        is_crossed = torch.stack(faces, dim=-1)
        voxels[ray] += signs[ray] * is_crossed
        crossings[ray] += torch.where(is_crossed, spacings[ray], 0.0)


def _is_outside(voxels: Int64[Tensor, "R 3"], shape: tuple[int, ...]) -> Bool[Tensor, "R 3"]:
    """Return along which axes voxels are outside the grid."""
    return (voxels < 0) | (voxels >= torch.tensor(shape, device=voxels.device))


def _nearest(nexts: Axes) -> tuple[Float64[Tensor, " R"], Axes]:
    """Return the distance to the next face, and whether it is that of x, y or z."""
    x, y, z = nexts
    distance = torch.minimum(torch.minimum(x, y), z)
    is_z = z == distance
    is_y = (y == distance) & ~is_z
    return distance, (~(is_y | is_z), is_y, is_z)


def _advance(nexts: Axes, gaps: Axes, faces: Axes) -> Axes:
    """Return the distances to the next faces after the marked faces are crossed."""
    x, y, z = (
        torch.where(face, distance + gap, distance)
        for distance, gap, face in zip(nexts, gaps, faces, strict=True)
    )
    return x, y, z


def _by_axis(rows: Num[Tensor, "R 3"]) -> Axes:
    """Split rows into contiguous columns of x, y and z."""
    x, y, z = rows.T.contiguous()
    return x, y, z


def _rows(axes: Axes, index: Int64[Tensor, " K"]) -> Axes:
    """Select rays of each axis."""
    x, y, z = (axis.index_select(0, index) for axis in axes)
    return x, y, z
