"""First hits against a slow walk through the grid, and against cases worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from model.render.first_hit import first_hit
from model.render.rays import Rays, pixel_centers, pixel_rays
from utils.geometry import VoxelGrid
from utils.labels import IGNORE

GRID = VoxelGrid((0.0, -2.0, -1.0), 0.5, (10, 8, 6))


STEP_M = 2e-4


def walk(occupancy: Tensor, origin: Tensor, direction: Tensor) -> tuple[int, float]:
    """Walk along one ray in tiny steps; returns (label, depth of entry)."""
    depths = torch.arange(0, 12, STEP_M, dtype=torch.float64)
    voxels = GRID.voxel_from_meters(origin + depths[:, None] * direction).floor().long()
    is_inside = ((voxels >= 0) & (voxels < torch.tensor(GRID.shape))).all(-1)
    x, y, z = voxels[is_inside].T
    hits = occupancy[x, y, z].nonzero()
    if not len(hits):
        return IGNORE, 0.0
    first = int(hits[0])
    return int(occupancy[x[first], y[first], z[first]]), float(depths[is_inside][first])


def test_agrees_with_a_slow_walk() -> None:
    generator = torch.Generator().manual_seed(0)
    occupancy = torch.randint(0, 12, (2, *GRID.shape), generator=generator).to(torch.uint8)
    occupancy[torch.rand(occupancy.shape, generator=generator) < 0.9] = 0
    occupancy[torch.rand(occupancy.shape, generator=generator) < 0.02] = IGNORE
    directions = torch.randn(2, 12, 3, generator=generator)
    directions[..., 0] = directions[..., 0].abs() + 0.2
    origins = torch.tensor([-1.0, 0.1, 0.2]).expand(2, 12, 3)
    hit = first_hit(occupancy, GRID, Rays(origins, directions), chunk=5)
    for b in range(2):
        for r in range(12):
            label, depth = walk(occupancy[b], origins[b, r], directions[b, r])
            assert int(hit.labels[b, r]) == label
            assert math.isclose(float(hit.depth_m[b, r]), depth, abs_tol=STEP_M)
            assert bool(hit.is_valid[b, r]) == (label != IGNORE)


@pytest.mark.parametrize(("label", "valid"), [(4, True), (IGNORE, False)])
def test_straight_ahead_enters_at_the_near_face(label: int, valid: bool) -> None:
    occupancy = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    occupancy[0, 6, 4, 3] = label  # x from 3.0 m, y from 0 m, z from 0.5 m
    rays = Rays(torch.tensor([[[-1.0, 0.2, 0.7]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    hit = first_hit(occupancy, GRID, rays)
    assert hit.labels.item() == label
    assert hit.depth_m.item() == pytest.approx(4.0)
    assert hit.is_valid.item() is valid


def test_origin_inside_an_occupied_voxel_and_voxels_behind() -> None:
    occupancy = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    occupancy[0, 2, 4, 3] = 5
    inside = Rays(torch.tensor([[[1.2, 0.2, 0.7]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert first_hit(occupancy, GRID, inside).depth_m.item() == 0.0
    assert first_hit(occupancy, GRID, inside).labels.item() == 5
    past = Rays(torch.tensor([[[1.7, 0.2, 0.7]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert first_hit(occupancy, GRID, past).labels.item() == IGNORE


def test_a_ray_first_leaves_the_ignored_voxels_that_it_starts_in() -> None:
    occupancy = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    occupancy[0, :3, 4, 3] = IGNORE  # x to 1.5 m
    ahead = torch.tensor([[[1.0, 0.0, 0.0]]])
    inside = Rays(torch.tensor([[[0.2, 0.2, 0.7]]]), ahead)
    outside = Rays(torch.tensor([[[-0.3, 0.2, 0.7]]]), ahead)
    hit = first_hit(occupancy, GRID, inside)
    assert (hit.labels.item(), hit.depth_m.item(), hit.is_valid.item()) == (IGNORE, 0.0, False)
    occupancy[0, 3, 4, 3] = 4
    hit = first_hit(occupancy, GRID, inside)
    assert (hit.labels.item(), hit.depth_m.item()) == (4, pytest.approx(1.3))
    # The same voxels hide what is behind them from everywhere else.
    assert not first_hit(occupancy, GRID, outside).is_valid.item()
    occupancy[0, 3, 4, 3], occupancy[0, 5, 4, 3], occupancy[0, 6, 4, 3] = 0, IGNORE, 4
    assert not first_hit(occupancy, GRID, inside).is_valid.item()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_voxel_that_is_only_touched_at_an_edge_is_not_hit(sign: float) -> None:
    occupancy = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    # The ray goes from the middle of (3, 3) through the edges of (4, 4), (5, 5), … or back.
    touched = [(4, 3), (3, 4)] if sign > 0 else [(2, 3), (3, 2)]
    for x, y in touched:
        occupancy[0, x, y, 3] = 7
    target = 6 if sign > 0 else 1
    occupancy[0, target, target, 3] = 4
    origin = torch.tensor([[[1.75, -0.25, 0.7]]])
    hit = first_hit(occupancy, GRID, Rays(origin, torch.tensor([[[sign, sign, 0.0]]])))
    assert hit.labels.item() == 4
    # From 3.5 to the near face of voxel 6 or 1, in voxels of 0.5 m.
    assert hit.depth_m.item() == pytest.approx(0.5 * (2.5 if sign > 0 else 1.5))


def test_pixel_rays_return_to_their_pixels() -> None:
    pixel_from_cam = torch.tensor([[90.0, 0, 31, 0], [0, 95, 17, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    cam_from_lidar = torch.tensor(
        [[0.0, -1, 0, 0.3], [0, 0, -1, 0.1], [1, 0, 0, 0.5], [0, 0, 0, 1]]
    )
    pixel_from_lidar = (pixel_from_cam @ cam_from_lidar)[None]
    pixels = pixel_centers(8, 12, stride=4)[None]
    assert pixels[0, 1].tolist() == [6.0, 2.0]
    points = pixel_rays(pixel_from_lidar, pixels).at(torch.full((1, 6, 1), 7.0))[:, :, 0]
    projected = points @ pixel_from_lidar[0, :3, :3].T + pixel_from_lidar[0, :3, 3]
    torch.testing.assert_close(projected[..., 2], torch.full((1, 6), 7.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(projected[..., :2] / 7.0, pixels, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="does not divide"):
        pixel_centers(9, 12, stride=4)
