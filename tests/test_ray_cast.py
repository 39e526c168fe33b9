"""Rays against a slow walk, against the geometry of boxes, and against cases worked by hand."""

import math
import sys
from itertools import pairwise

import pytest
import torch

from engine.metrics.ray_cast import (
    VoxelRays,
    cast_rays,
    lidar_directions,
    lidar_pitches,
    rays_in_grid,
)
from utils.geometry import VoxelGrid

SHAPE = (9, 7, 5)
FREE = 17


def grid_with(*voxels, shape=SHAPE, label=3):
    labels = torch.full(shape, FREE, dtype=torch.uint8)
    for voxel in voxels:
        labels[voxel] = label
    return labels


def cast(labels, rays):
    """Cast rays through a single grid."""
    return cast_rays(labels[None], rays, torch.zeros(len(rays.starts)).long(), free_label=FREE)


def cast_one(labels, start, direction):
    start = torch.tensor([start], dtype=torch.float32)
    ends = cast(labels, VoxelRays(start, start + torch.tensor([direction])))
    return int(ends.labels), float(ends.depths)


def slow_walk(labels, start, end):
    """One ray, voxel by voxel; returns (label, depth in voxels)."""
    along = [e - s for s, e in zip(start, end, strict=True)]
    length = math.sqrt(sum(part * part for part in along))
    direction = [part / length for part in along]
    voxel = [int(s) for s in start]
    sign = [1 if d >= 0 else -1 for d in direction]
    far = sys.float_info.max
    crossing = [
        (v + (s > 0) - o) / d if d else far
        for v, s, o, d in zip(voxel, sign, start, direction, strict=True)
    ]
    spacing = [s / d if d else far for s, d in zip(sign, direction, strict=True)]
    depth, was_inside = -1.0, False
    for _ in range(1000):
        inside = all(0 <= v < n for v, n in zip(voxel, labels.shape, strict=True))
        if was_inside and not inside:
            return FREE, depth
        axis = min((2, 1, 0), key=lambda axis: crossing[axis])  # Of equals z, then y.
        if inside:
            was_inside, depth = True, crossing[axis]
            if labels[tuple(voxel)] != FREE:
                return int(labels[tuple(voxel)]), depth
        voxel[axis] += sign[axis]
        crossing[axis] += spacing[axis]
    return int(labels[0, 0, 0]), -1.0


def random_labels(seed, share=0.1, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, FREE, shape, generator=generator).to(torch.uint8)
    return labels.where(torch.rand(shape, generator=generator) < share, torch.tensor(FREE).byte())


def random_rays(seed, low, high, *, snap=None, count=300):
    generator = torch.Generator().manual_seed(seed)
    starts = low + (high - low) * torch.rand(count, 3, generator=generator)
    if snap is not None:
        starts = (starts / snap).round() * snap
    directions = torch.randn(count, 3, generator=generator)
    directions[::7, 0] = 0
    directions[::11, 2] = 0
    directions[::13, 1] = directions[::13, 0]
    directions[0] = torch.tensor([0.0, 0.0, -1.0])
    return VoxelRays(starts, starts + directions)


@pytest.mark.parametrize("snap", [None, 0.5, 1.0], ids=["anywhere", "halves", "faces"])
@pytest.mark.parametrize(
    ("low", "high"),
    [((0.0, 0.0, 0.0), SHAPE), ((-3.0, -3.0, -3.0), (12.0, 10.0, 8.0))],
    ids=["inside", "around"],
)
def test_agrees_with_a_slow_walk(low, high, snap):
    labels = random_labels(0)
    labels[0, 0, 0] = 5
    rays = random_rays(1, torch.tensor(low), torch.tensor(high, dtype=torch.float32), snap=snap)
    found = cast(labels, rays)
    for ray, (start, end) in enumerate(zip(rays.starts.tolist(), rays.ends.tolist(), strict=True)):
        label, depth = slow_walk(labels, start, end)
        assert int(found.labels[ray]) == label
        assert float(found.depths[ray]) == pytest.approx(depth, rel=1e-7)


def test_agrees_with_the_exits_of_boxes():
    labels = random_labels(2)
    shape = torch.tensor(SHAPE, dtype=torch.float32)
    rays = random_rays(3, 0 * shape, shape)
    found = cast(labels, rays)
    starts = rays.starts.double()
    along = torch.nn.functional.normalize(rays.ends.double() - starts, dim=-1)
    occupied = (labels != FREE).nonzero().double()
    faces = [(occupied + upper - starts[:, None]) / along[:, None] for upper in (0.0, 1.0)]
    near, far = torch.minimum(*faces).amax(-1), torch.maximum(*faces).amin(-1)  # (R, N)
    enters = torch.where((near < far) & (far > 0), near, math.inf)
    first = enters.argmin(-1)
    is_hit = enters.amin(-1).isfinite()
    x, y, z = occupied[first].long().T
    assert torch.equal(found.labels, torch.where(is_hit, labels[x, y, z], FREE))
    assert 0.3 < is_hit.double().mean() < 0.95
    sides = [(torch.tensor(bound) - starts) / along for bound in ((0, 0, 0), SHAPE)]
    expected = torch.where(
        is_hit, far[torch.arange(len(first)), first], torch.maximum(*sides).amin(-1)
    )
    torch.testing.assert_close(found.depths.double(), expected, rtol=1e-6, atol=1e-5)


def test_depth_is_where_the_ray_leaves_the_first_occupied_voxel():
    labels = grid_with((5, 2, 3), (6, 2, 3))
    assert cast_one(labels, (1.5, 2.5, 3.5), (1.0, 0.0, 0.0)) == (3, 4.5)
    assert cast_one(labels, (8.5, 2.5, 3.5), (-1.0, 0.0, 0.0)) == (3, 2.5)


def test_a_miss_ends_where_the_ray_leaves_the_grid():
    assert cast_one(grid_with(), (1.5, 2.5, 3.5), (2.0, 0.0, 0.0)) == (FREE, 7.5)
    label, depth = cast_one(grid_with(), (1.5, 2.5, 3.5), (0.0, -3.0, 4.0))
    assert (label, depth) == (FREE, pytest.approx(1.5 / 0.8))


def test_an_origin_in_an_occupied_voxel_leaves_that_one():
    assert cast_one(grid_with((1, 2, 3)), (1.25, 2.5, 3.5), (1.0, 0.0, 0.0)) == (3, 0.75)


def test_an_origin_on_a_face_is_in_the_voxel_above_it():
    assert cast_one(grid_with((4, 2, 3)), (4.0, 2.5, 3.5), (-1.0, 0.0, 0.0)) == (3, 0.0)
    assert cast_one(grid_with((3, 2, 3)), (4.0, 2.5, 3.5), (-1.0, 0.0, 0.0)) == (3, 1.0)
    assert cast_one(grid_with((3, 2, 3)), (4.0, 2.5, 3.5), (1.0, 0.0, 0.0)) == (FREE, 5.0)


def test_through_an_edge_a_ray_crosses_z_then_y_then_x():
    diagonal = (1.0, 1.0, 1.0)
    for touched in ((1, 1, 2), (1, 2, 2), (2, 2, 2)):
        label, _ = cast_one(grid_with(touched), (1.5, 1.5, 1.5), diagonal)
        assert label == 3
    for passed in ((2, 1, 1), (2, 1, 2), (2, 2, 1), (1, 2, 1)):
        label, _ = cast_one(grid_with(passed), (1.5, 1.5, 1.5), diagonal)
        assert label == FREE


def test_an_origin_outside_enters_later():
    labels = grid_with((2, 2, 4))
    assert cast_one(labels, (2.5, 2.5, 7.25), (0.0, 0.0, -1.0)) == (3, 3.25)
    assert cast_one(grid_with((0, 2, 2)), (-4.5, 2.5, 2.5), (1.0, 0.0, 0.0)) == (3, 5.5)


def test_less_than_a_voxel_below_the_grid_is_still_in_its_lowest_layer():
    label, depth = cast_one(grid_with((4, 2, 0)), (1.5, 2.5, -0.5), (1.0, 0.0, 0.01))
    assert (label, depth) == (3, pytest.approx(3.5, abs=1e-3))
    label, _ = cast_one(grid_with((4, 2, 0)), (1.5, 2.5, -1.5), (1.0, 0.0, 0.01))
    assert label == FREE


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (9.0, 0.0, -1.0)])
def test_a_ray_that_never_meets_the_grid_has_the_label_of_its_first_voxel(direction):
    labels = grid_with((0, 0, 0), label=7)
    assert cast_one(labels, (1.5, 2.5, 7.5), direction) == (7, -1.0)
    assert cast_one(grid_with(), (1.5, 2.5, 7.5), direction) == (FREE, -1.0)


def test_each_ray_has_its_grid():
    labels = torch.stack([random_labels(seed) for seed in (6, 7, 8)])
    rays = random_rays(9, torch.zeros(3) - 2, torch.tensor([9.0, 7, 5]))
    grids = torch.arange(len(rays.starts)) % 3
    found = cast_rays(labels, rays, grids, free_label=FREE)
    for number, grid in enumerate(labels):
        expected = cast(grid, VoxelRays(*(ends[grids == number] for ends in rays)))
        assert torch.equal(found.labels[grids == number], expected.labels)
        assert torch.equal(found.depths[grids == number], expected.depths)


def test_no_rays_and_inputs_stay_as_they_were():
    labels, rays = random_labels(4), random_rays(5, torch.zeros(3) - 2, torch.tensor([9.0, 7, 5]))
    before = [tensor.clone() for tensor in (labels, *rays)]
    cast(labels, rays)
    assert all(torch.equal(a, b) for a, b in zip(before, (labels, *rays), strict=True))
    assert cast(labels, VoxelRays(*(r[:0] for r in rays))).labels.shape == (0,)


def test_pitches_are_those_of_the_benchmark():
    pitches = lidar_pitches()
    assert len(pitches) == 39
    assert pitches[0] == pytest.approx(math.radians(-45))
    assert pitches[9] == pytest.approx(-math.atan(1 / 10))
    steps = [upper - lower for lower, upper in pairwise(pitches[8:])]
    assert steps == pytest.approx([math.atan(1 / 9) - math.atan(1 / 10)] * 30)
    assert pitches[-2] < 0.21 <= pitches[-1]


def test_directions_are_unit_vectors_pitch_by_pitch():
    directions = lidar_directions()
    assert directions.shape == (39 * 360, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(39 * 360))
    half = math.sqrt(0.5)
    torch.testing.assert_close(directions[0], torch.tensor([half, 0, -half]))
    torch.testing.assert_close(directions[90], torch.tensor([0, half, -half]))
    low, high = directions[-360], lidar_pitches()[-1]
    torch.testing.assert_close(low, torch.tensor([math.cos(high), 0, math.sin(high)]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rays_start_at_the_voxels_of_their_origins(dtype):
    grid = VoxelGrid((-40.0, -40.0, -1.0), 0.4, (200, 200, 16))
    origins = torch.tensor([[0.0, 0.0, 1.8], [-39.0, 3.0, 0.2]], dtype=dtype)
    rays = rays_in_grid(origins, lidar_directions()[:4], grid)
    expected = torch.tensor([[100.0, 100.0, 7.0], [2.5, 107.5, 3.0]]).repeat_interleave(4, dim=0)
    torch.testing.assert_close(rays.starts, expected)
    along = (rays.ends - rays.starts) * 0.4
    torch.testing.assert_close(along, lidar_directions()[:4].repeat(2, 1), atol=1e-5, rtol=0)
