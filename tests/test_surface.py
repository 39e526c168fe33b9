import pytest
import torch

from model.render.rays import Rays
from model.render.volume import termination_weights
from model.surface import Surface, absorption, occupied_by, surface_of
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -4.0, -3.0), voxel_m=1.0, shape=(16, 8, 5))


def plane(normal: tuple[float, float, float], offset_m: float) -> Surface:
    """Surface at points p with normal · p = offset."""
    unit = torch.nn.functional.normalize(torch.tensor(normal), dim=0)
    distance_m = (GRID.centers_m() @ unit - offset_m)[None]
    gradient = unit.view(1, 3, 1, 1, 1).expand(1, 3, *GRID.shape)
    return Surface(distance_m, gradient)


def occupied(surface: Surface) -> torch.Tensor:
    logits = occupied_by(surface, torch.zeros(1, 3, *GRID.shape), GRID)
    return logits.softmax(dim=1)[0, 0] < 0.5


def test_an_untrained_head_predicts_level_ground():
    surface = surface_of(torch.zeros(1, 3, *GRID.shape), GRID, -1.8)
    expected = GRID.centers_m()[..., 2] + 1.8
    torch.testing.assert_close(surface.distance_m[0], expected)
    assert surface.gradient[0, 2].sub(1).abs().max() < 1e-5
    assert surface.gradient[0, :2].abs().max() < 1e-5


def test_the_free_score_moves_the_surface_by_voxels():
    logits = torch.zeros(1, 3, *GRID.shape)
    logits[:, 0] = -1.0
    surface = surface_of(logits, GRID, -1.8)
    assert surface.distance_m[0, 3, 3].tolist() == pytest.approx([-1.7, -0.7, 0.3, 1.3, 2.3])


@pytest.mark.parametrize("ground_m", [-1.95, -1.5, -1.05])
def test_ground_occupies_the_layer_that_holds_it(ground_m):
    found = occupied(surface_of(torch.zeros(1, 3, *GRID.shape), GRID, ground_m))
    assert found[..., 1].all()
    assert found.sum() == found[..., 1].numel()


def test_a_slope_occupies_every_voxel_that_it_crosses():
    found = occupied(plane((1.0, 0.0, 1.0), 0.3 / 2**0.5))  # z = 0.3 − x
    # At the middle of its first column, x = 0.5, the plane is at z = −0.2; it enters at 0.3.
    assert found[0, 0].tolist() == [False, False, True, True, False]
    assert found[1, 0].tolist() == [False, True, True, False, False]


def test_classes_share_what_is_occupied():
    logits = torch.zeros(1, 3, *GRID.shape)
    logits[:, 2] = 2.0
    found = occupied_by(plane((0.0, 0.0, 1.0), -1.5), logits, GRID).softmax(dim=1)
    assert found[0, 2, 0, 0, 1].item() == pytest.approx(
        found[0, 1, 0, 0, 1].item() * 7.389, rel=1e-3
    )
    assert (found[0, 1:, 0, 0, 1].sum() > 0.99).item()


def rays_down(slope: float) -> Rays:
    return Rays(torch.tensor([[[0.5, 0.0, 0.0]]]), torch.tensor([[[1.0, 0.0, -slope]]]))


@pytest.mark.parametrize("slope", [0.2, 0.5])
def test_rays_at_any_angle_end_at_the_surface(slope):
    surface = plane((0.0, 0.0, 1.0), -1.8)
    edges_m = torch.linspace(0, 15, 601)
    absorbed = absorption(surface, GRID, rays_down(slope), edges_m, 0.05)
    weights = termination_weights(absorbed, torch.ones_like(absorbed))
    middles_m = 0.5 * (edges_m[1:] + edges_m[:-1])
    assert weights.sum().item() == pytest.approx(1, abs=1e-3)
    depth_m = (weights * middles_m).sum().item()
    assert depth_m == pytest.approx(1.8 / slope, rel=0.02)


def test_nothing_is_absorbed_in_the_air_or_outside():
    edges_m = torch.linspace(0, 30, 61)
    high = absorption(plane((0.0, 0.0, 1.0), -1.8), GRID, rays_down(0.0), edges_m, 0.05)
    assert high.sum() < 1e-6
    wall = plane((-1.0, 0.0, 0.0), -20.0)  # At x = 20, where the grid is not.
    assert absorption(wall, GRID, rays_down(0.0), edges_m, 0.05).sum() < 1e-6
    assert absorption(plane((-1.0, 0.0, 0.0), -9.0), GRID, rays_down(0.0), edges_m, 0.05).sum() > 3


def test_gradients_move_a_surface():
    height_m = torch.tensor(-1.8, requires_grad=True)
    distance_m = (GRID.centers_m()[..., 2] - height_m)[None]
    surface = Surface(distance_m, torch.zeros(1, 3, *GRID.shape))
    edges_m = torch.linspace(0, 15, 151)
    absorbed = absorption(surface, GRID, rays_down(0.2), edges_m, 0.1)
    weights = termination_weights(absorbed, torch.ones_like(absorbed))
    (weights * edges_m[1:]).sum().backward()
    # Ground that is 1 m higher is hit 1 m / slope earlier.
    assert height_m.grad.item() == pytest.approx(-1 / 0.2, rel=0.05)
