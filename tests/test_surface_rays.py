"""Rays through volumes worked by hand."""

import math

import pytest
import torch

from dataset.sample import LidarRays
from model.surface_rays import depth_of_rays, free_segments, inside_span, ray_term
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -2.0, -1.0), voxel_m=1.0, shape=(8, 4, 2))


def rays_to(*ends: tuple[float, float, float], origin: tuple = (-2.0, 0.5, 0.5)) -> LidarRays:
    points = torch.tensor([ends])
    has_point = torch.zeros(1, *GRID.shape, dtype=torch.bool)
    for x, y, z in ends:
        if x < 8:
            has_point[0, int(x), int(y + 2), int(z + 1)] = True
    is_own = torch.ones(points.shape[:2], dtype=torch.bool)
    return LidarRays(torch.tensor(origin).expand_as(points), points, is_own, has_point)


def nll(occupied: torch.Tensor, rays: LidarRays) -> torch.Tensor:
    return ray_term(logits_of(occupied), GRID, rays)


def logits_of(occupied: torch.Tensor) -> torch.Tensor:
    """Scores of free and two classes that share a probability."""
    return torch.stack([1 - occupied, occupied / 2, occupied / 2], dim=1).log()


def test_a_wall_at_a_known_distance():
    occupied = torch.full((1, *GRID.shape), 0.1)
    occupied[0, 5] = 0.8
    term = nll(occupied, rays_to((5.5, 0.5, 0.5)))
    # Five free voxels, of which each is passed with probability 0.9, then the wall. The last free
    # segment may reach into the wall's voxel, or end before it.
    expected = -5 * math.log(0.9) - math.log(0.8)
    assert term.item() == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("x", [2, 3, 4, 6, 7])
def test_a_wall_elsewhere_is_less_likely(x):
    def loss(place: int) -> float:
        occupied = torch.full((1, *GRID.shape), 0.02)
        occupied[0, place] = 0.9
        return nll(occupied, rays_to((5.5, 0.5, 0.5))).item()

    assert loss(x) > loss(5) + 1


def test_an_occluder_that_the_ray_passes_is_pushed_to_free():
    occupied = torch.full((1, *GRID.shape), 0.3).requires_grad_()
    term = nll(occupied, rays_to((5.5, 0.5, 0.5)))
    term.backward()
    along = occupied.grad[0, :, 2, 1]
    assert (along[:5] > 0).all()
    assert along[5] < 0
    assert not along[6:].any()
    assert not occupied.grad[0, :, 0].any()


def test_a_ray_that_grazes_a_voxel_with_a_point_leaves_it_alone():
    occupied = torch.full((1, *GRID.shape), 0.3).requires_grad_()
    rays = rays_to((5.5, 0.5, 0.5), (3.5, 0.5, 0.5))
    term = nll(occupied, rays)
    term.backward()
    assert occupied.grad[0, 3, 2, 1] < 0


def test_a_ray_that_ends_beyond_the_grid_is_free_throughout():
    occupied = torch.full((1, *GRID.shape), 0.2)
    term = nll(occupied, rays_to((20.0, 0.5, 0.5)))
    assert term.item() == pytest.approx(-8 * math.log(0.8), rel=1e-4)


def test_a_ray_beside_the_grid_does_not_count():
    occupied = torch.full((1, *GRID.shape), 0.2)
    rays = rays_to((9.5, 3.5, 0.5), origin=(-1.0, 3.5, 0.5))
    assert nll(occupied, rays).item() == 0


def test_a_ray_without_length_does_not_count():
    occupied = torch.full((1, *GRID.shape), 0.2)
    assert nll(occupied, rays_to((2.5, 0.5, 0.5), origin=(2.5, 0.5, 0.5))).item() == 0


def test_voxels_that_many_rays_pass_count_like_those_that_rays_end_in():
    def pull(*ends: tuple[float, float, float]) -> torch.Tensor:
        occupied = torch.full((1, *GRID.shape), 0.2).requires_grad_()
        (nll(occupied, rays_to(*ends)) * len(ends)).backward()  # The sum over the rays.
        return occupied.grad[0, :, 2, 1]

    leaves, ends = (20.0, 0.5, 0.5), (5.5, 1.5, 0.5)
    torch.testing.assert_close(pull(*[leaves] * 4), pull(leaves))
    torch.testing.assert_close(pull(*[leaves] * 4, ends, ends)[6:], 2 * pull(leaves)[6:])


def test_segments_fill_the_ray_from_the_grids_face_to_the_end():
    rays = rays_to((6.0, 0.5, 0.5))
    points_m, length_m = free_segments(rays.origins_m, rays.ends_m, GRID)
    segments = points_m.shape[2]
    assert length_m.item() * segments == pytest.approx(6.0)
    assert length_m.item() <= 0.5 * GRID.voxel_m
    assert points_m[0, 0, 0, 0].item() == pytest.approx(length_m.item() / 2)
    assert points_m[0, 0, -1, 0].item() == pytest.approx(6.0 - length_m.item() / 2)


def test_where_rays_enter_and_leave():
    origins = torch.tensor([[[-2.0, 0.0, 0.0], [4.0, 0.0, 0.0], [-2.0, 5.0, 0.0]]])
    directions = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]])
    enter, leave = inside_span(origins, directions, GRID)
    assert (enter[0, 0], leave[0, 0]) == (2, 10)
    assert (enter[0, 1], leave[0, 1]) == (-1, 1)
    assert enter[0, 2] > leave[0, 2]


def test_depth_of_the_nearest_own_point_in_each_cell():
    ends_m = torch.tensor([[[4.5, 0.1, 0.1], [7.5, 0.1, 0.1], [2.0, 0.1, 0.1]]])
    own = torch.tensor([[True, True, False]])
    rays = LidarRays(torch.zeros_like(ends_m), ends_m, own, torch.zeros(1, *GRID.shape) > 0)
    camera = pinhole(32, 64, 30.0, forward_m=-1.0)[None, None]
    depth_m = depth_of_rays(rays, camera, (32, 64), 8)
    assert depth_m.shape == (1, 1, 4, 8)
    assert depth_m.max().item() == pytest.approx(5.5)
    assert (depth_m > 0).sum() == 1
