"""Ray compositing against closed forms and a slow loop, with gradients."""

import math

import pytest
import torch

from model.render.rays import Rays
from model.render.volume import render_volume, sample_volume, termination_weights, uniform_depths
from utils.geometry import VoxelGrid

GRID = VoxelGrid((0.0, -4.0, -4.0), 0.5, (40, 16, 16))


def straight_ray(slant: float = 0.0) -> Rays:
    return Rays(torch.zeros(1, 1, 3), torch.tensor([[[1.0, slant, 0.0]]]))


def test_weights_agree_with_the_product_form() -> None:
    density, length = (
        torch.rand(3, 7, dtype=torch.float64) * 4,
        torch.rand(3, 7, dtype=torch.float64),
    )
    weights = termination_weights(density, length)
    for ray in range(3):
        passed = 1.0
        for s in range(7):
            alpha = 1.0 - math.exp(-float(density[ray, s] * length[ray, s]))
            assert float(weights[ray, s]) == pytest.approx(passed * alpha)
            passed *= 1.0 - alpha
    assert torch.autograd.gradcheck(termination_weights, (density.requires_grad_(), length))


@pytest.mark.parametrize("slant", [0.0, 0.2])
def test_opacity_of_a_homogeneous_medium_counts_metric_length(slant: float) -> None:
    density = torch.full((1, 1, *GRID.shape), 0.1)
    rendering = render_volume(
        density, None, GRID, straight_ray(slant), uniform_depths(2.0, 12.0, 50)
    )
    meters = 10.0 * math.sqrt(1 + slant**2)
    assert rendering.opacity.item() == pytest.approx(1 - math.exp(-0.1 * meters), abs=1e-5)
    assert rendering.weights.sum().item() == pytest.approx(rendering.opacity.item())


def test_a_wall_gives_its_depth_and_its_features() -> None:
    density = torch.zeros(1, 1, *GRID.shape)
    density[:, :, 20:22] = 50.0  # a wall from 10 m to 11 m
    features = torch.zeros(1, 2, *GRID.shape)
    features[:, 1, 18:24] = 3.0
    rendering = render_volume(
        density, features, GRID, straight_ray(), uniform_depths(0.0, 20.0, 200)
    )
    assert rendering.depth_m.item() == pytest.approx(10.0, abs=0.3)  # half a voxel's interpolation
    assert rendering.features is not None
    assert rendering.features[0, 0].tolist() == pytest.approx([0.0, 3.0], abs=1e-3)
    assert rendering.opacity.item() == pytest.approx(1.0, abs=1e-4)


def test_an_empty_volume_is_seen_through_to_the_far_end() -> None:
    rendering = render_volume(
        torch.zeros(1, 1, *GRID.shape), None, GRID, straight_ray(), uniform_depths(0.0, 15.0, 30)
    )
    assert rendering.depth_m.item() == pytest.approx(15.0)
    assert rendering.opacity.item() == 0.0


def test_volumes_of_a_batch_do_not_mix() -> None:
    volume = torch.rand(2, 3, *GRID.shape)
    points = torch.rand(2, 4, 5, 3) * torch.tensor([20.0, 8, 8]) + torch.tensor([0.0, -4, -4])
    both = sample_volume(volume, GRID, points)
    assert both.shape == (2, 4, 5, 3)
    torch.testing.assert_close(both[1:], sample_volume(volume[1:], GRID, points[1:]))


def test_depth_reaches_the_density() -> None:
    density = torch.full((1, 1, *GRID.shape), 0.05, requires_grad=True)
    render_volume(
        density, None, GRID, straight_ray(), uniform_depths(0.0, 15.0, 30)
    ).depth_m.sum().backward()
    assert density.grad is not None
    assert density.grad.abs().sum() > 0


def test_bad_ranges_are_rejected() -> None:
    with pytest.raises(ValueError, match="near < far"):
        uniform_depths(5.0, 5.0, 10)


def test_the_nearest_voxel_is_a_step_where_the_trilinear_sample_is_a_slope() -> None:
    grid = VoxelGrid((0.0, 0.0, 0.0), 1.0, (4, 2, 2))
    volume = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
    points = torch.tensor([[[1.5, 1.0, 1.0], [1.9, 1.0, 1.0], [2.1, 1.0, 1.0], [4.1, 1.0, 1.0]]])
    assert sample_volume(volume, grid, points, nearest=True).flatten().tolist() == [1, 1, 2, 0]
    slope = sample_volume(volume, grid, points[:, :3]).flatten()
    torch.testing.assert_close(slope, torch.tensor([1.0, 1.4, 1.6]))
