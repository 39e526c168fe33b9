import math

import pytest
import torch

from model.gs_refinement import SCALE, SCALE_RANGE, GSRefinement, is_in_view
from tests.model_inputs import GRID, pinhole
from utils.labels import FREE

SIZE = (32, 64)
CAMERA = pinhole(*SIZE, 30.0, forward_m=-1.0)[None, None]


def make_refinement(count: int = 20) -> GSRefinement:
    torch.manual_seed(0)
    return GSRefinement(
        in_channels=6, grid=GRID, coarsening=2, num_gaussians=count, hidden_channels=8
    )


def inputs(batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoded features, and logits by which two voxels before the camera are occupied."""
    generator = torch.Generator().manual_seed(2)
    decoded = torch.randn(batch, 6, 8, 8, 2, generator=generator)
    logits = torch.zeros(batch, 4, *GRID.shape)
    logits[:, FREE] = 5.0
    logits[:, 2, 8, 8, 2] = 9.0
    logits[:, 3, 10, 7, 1] = 8.0
    logits[:, 1, 0, 15, 3] = 20.0  # Occupied, but beside the picture.
    return decoded, logits


def test_the_most_occupied_voxels_in_view_become_gaussians() -> None:
    gaussians = make_refinement(2)(*inputs(), CAMERA, SIZE)
    centers = {tuple(round(v, 3) for v in mean) for mean in gaussians.means_m[0].tolist()}
    # Voxels of 1 m from (0, −8, −2): (8, 8, 2) has its center at (8.5, 0.5, 0.5).
    assert centers == {(8.5, 0.5, 0.5), (10.5, -0.5, -0.5)}
    assert gaussians.scales_m.tolist() == [[[pytest.approx(SCALE)] * 3] * 2]
    assert gaussians.rotations.tolist() == [[[1.0, 0.0, 0.0, 0.0]] * 2]


def test_a_call_may_ask_for_another_number_of_gaussians() -> None:
    refinement = make_refinement(2)
    assert refinement(*inputs(), CAMERA, SIZE, num_gaussians=5).means_m.shape == (1, 5, 3)
    assert refinement(*inputs(), CAMERA, SIZE).means_m.shape == (1, 2, 3)


def test_opacity_and_classes_come_from_the_logits() -> None:
    gaussians = make_refinement(2)(*inputs(), CAMERA, SIZE)
    first = int(gaussians.means_m[0, :, 0].argmin())
    total = math.exp(5) + math.exp(9) + 2
    assert gaussians.opacities[0, first].item() == pytest.approx(1 - math.exp(5) / total, rel=1e-4)
    others = math.exp(9) + 2
    expected = [1 / others, math.exp(9) / others, 1 / others]
    assert gaussians.features[0, first].tolist() == pytest.approx(expected, rel=1e-4)


def test_gradients_reach_logits_and_features() -> None:
    refinement = make_refinement()
    with torch.no_grad():  # The last layer starts at 0, which stops the features' gradient.
        refinement.form[-1].weight.normal_()
    decoded, logits = (part.requires_grad_() for part in inputs(2))
    gaussians = refinement(decoded, logits, CAMERA.expand(2, 1, 4, 4), SIZE)
    sum((field * torch.randn_like(field)).sum() for field in gaussians).backward()
    assert logits.grad is not None
    assert decoded.grad is not None
    assert logits.grad[:, FREE, 8, 8, 2].abs().min() > 0
    assert (decoded.grad.abs().amax((2, 3, 4)) > 0).all()


def test_form_is_bounded_whatever_the_features_say() -> None:
    refinement = make_refinement()
    with torch.no_grad():
        refinement.form[-1].weight.normal_(std=100)
    gaussians = refinement(*inputs(), CAMERA, SIZE)
    plain = make_refinement()(*inputs(), CAMERA, SIZE)
    assert (gaussians.means_m - plain.means_m).abs().max() <= 0.5 * GRID.voxel_m + 1e-5
    assert gaussians.scales_m.min() >= SCALE / SCALE_RANGE - 1e-5
    assert gaussians.scales_m.max() <= SCALE * SCALE_RANGE + 1e-5


def test_a_decoded_voxel_is_the_one_that_covers() -> None:
    refinement = make_refinement()
    x, y, z = 9, 14, 3
    index = torch.tensor([[(x * 16 + y) * 4 + z]])
    assert refinement.decoded_voxel(index).item() == (4 * 8 + 7) * 2 + 1


def test_in_view_with_a_margin_of_any_camera() -> None:
    backwards = CAMERA @ torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    ahead = is_in_view(GRID, CAMERA, SIZE).view(GRID.shape)
    assert ahead[8, 8, 2]
    assert not ahead[0, 15, 3]
    assert not is_in_view(GRID, backwards, SIZE).any()
    both = is_in_view(GRID, torch.cat([backwards, CAMERA], dim=1), SIZE).view(GRID.shape)
    assert torch.equal(both, ahead)


def test_a_grid_smaller_than_the_number_of_gaussians() -> None:
    gaussians = make_refinement(10**6)(*inputs(), CAMERA, SIZE)
    assert gaussians.means_m.shape == (1, 16 * 16 * 4, 3)


def test_frames_of_a_batch_choose_their_own() -> None:
    decoded, logits = inputs(2)
    logits[1] = logits[1].roll(1, dims=1)
    gaussians = make_refinement(2)(decoded, logits, CAMERA.expand(2, 1, 4, 4), SIZE)
    assert not torch.equal(*gaussians.means_m)


def test_no_gaussians_are_rejected() -> None:
    with pytest.raises(ValueError, match="num_gaussians must be positive, got 0"):
        make_refinement(0)
