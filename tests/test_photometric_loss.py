import pytest
import torch

from loss.photometric import (
    best_depth,
    best_sources,
    is_explained,
    match_exposure,
    matched_surface,
    patch_error,
    photometric_loss,
    plane_smoothness,
    unit_slope,
)


def random_patch(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, 9, generator=torch.Generator().manual_seed(seed))


def test_the_same_patch_has_no_error():
    patch = random_patch(2, 3)
    assert patch_error(patch, patch).abs().max() < 1e-6


def test_black_and_white_differ_by_luminance_and_level():
    black, white = torch.zeros(9), torch.ones(9)
    # Without contrast, the structure is equal; SSIM is 1e-4 / (1 + 1e-4).
    assert patch_error(black, white).item() == pytest.approx(0.85 / 2 + 0.15, abs=1e-3)


def test_an_inverted_patch_differs_most():
    patch = random_patch()
    shifted = (patch + 0.05).clamp(max=1)
    assert patch_error(patch, 1 - patch) > 0.7
    assert patch_error(patch, shifted) < 0.1


def test_a_darker_image_with_less_contrast_is_matched():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    darker = 0.85 * image - 0.05
    matched = match_exposure(torch.stack([darker, image], dim=1), image)
    torch.testing.assert_close(matched, image[:, None].expand(-1, 2, -1, -1, -1))
    far = match_exposure(0.1 * image[:, None], image)[:, 0]  # No exposure: another scene.
    assert far.std() < 0.2 * image.std()


def test_of_two_images_the_better_counts_so_that_one_may_be_occluded():
    errors = torch.tensor([0.1, 0.6]).view(1, 2, 1, 1)
    best, is_seen = best_sources(errors, torch.ones_like(errors) > 0)
    assert best.item() == pytest.approx(0.1)
    assert is_seen.all()


def test_of_four_images_the_worst_does_not_count_nor_those_out_of_view():
    errors = torch.tensor([[0.1, 0.3, 0.2, 0.9], [0.0, 0.5, 0.0, 0.0]]).T.reshape(1, 4, 2, 1)
    in_view = torch.tensor([[True] * 4, [False, True, False, False]]).T.reshape(1, 4, 2, 1)
    best, is_seen = best_sources(errors, in_view)
    assert best.flatten().tolist() == pytest.approx([0.2, 0.5])
    assert is_seen.all()
    best, is_seen = best_sources(errors, ~in_view & False)
    assert not is_seen.any()
    assert not best.any()


ERRORS = torch.tensor([[[0.5, 0.1, 0.3, 0.2]]], dtype=torch.float64)
WEIGHTS = torch.tensor([[[0.1, 0.6, 0.1, 0.0]]], dtype=torch.float64)
SEEN = torch.ones(1, 1, 4, dtype=torch.bool)
OUTSIDE = torch.tensor([[[False, False, False, True]]])
COUNTS = torch.ones(1, 1, dtype=torch.bool)


def test_the_expected_error_above_the_least():
    loss = photometric_loss(WEIGHTS, ERRORS, SEEN, OUTSIDE, COUNTS)
    # Passing, with probability 0.2, costs as much as the best place outside.
    assert loss.item() == pytest.approx(0.1 * 0.4 + 0.6 * 0 + 0.1 * 0.2 + 0.2 * 0.1)


def test_a_segment_that_no_image_sees_costs_the_mean():
    seen = SEEN.clone()
    seen[..., 0] = False
    loss = photometric_loss(WEIGHTS, ERRORS, seen, OUTSIDE, COUNTS)
    assert loss.item() == pytest.approx(0.1 * 0.1 + 0.1 * 0.2 + 0.2 * 0.1)


def test_ending_at_the_best_depth_costs_nothing():
    best = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)
    assert photometric_loss(best, ERRORS, SEEN, OUTSIDE, COUNTS).item() == 0


def test_without_rays_the_loss_is_a_differentiable_zero():
    weights = WEIGHTS.clone().requires_grad_()
    for seen, counts in ((SEEN, ~COUNTS), (~SEEN, COUNTS)):
        loss = photometric_loss(weights, ERRORS, seen, OUTSIDE, counts)
        loss.backward()
        assert loss.item() == 0
        assert not weights.grad.any()


def test_gradients():
    weights = WEIGHTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w: photometric_loss(w, ERRORS, SEEN, OUTSIDE, COUNTS), (weights,)
    )
    inverse = torch.rand(1, 4, 5, dtype=torch.float64, requires_grad=True)
    image = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: plane_smoothness(d + 1, image), (inverse,))
    slope = torch.rand(1, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: unit_slope(g + 0.1), (slope,))


DEPTHS_M = 3.0 * 1.1 ** torch.arange(5.0)


def test_the_best_depth_lies_between_segments():
    # A parabola whose minimum is a quarter of a step behind the third segment.
    steps = torch.arange(5.0)
    errors = (0.1 * (steps - 2.25).square())[None, None]
    depth_m, is_sure = best_depth(errors, torch.ones_like(errors) > 0, DEPTHS_M)
    assert depth_m.item() == pytest.approx(3.0 * 1.1**2.25, rel=1e-5)
    assert is_sure.all()


def test_a_flat_or_cut_minimum_is_not_sure():
    flat = torch.tensor([0.3, 0.3, 0.2, 0.3, 0.3])
    at_the_end = torch.tensor([0.9, 0.7, 0.5, 0.3, 0.0])
    errors = torch.stack([flat, at_the_end])[None]
    _, is_sure = best_depth(errors, torch.ones_like(errors) > 0, DEPTHS_M)
    assert not is_sure.any()
    depth_m, is_sure = best_depth(errors, torch.zeros_like(errors) > 0, DEPTHS_M)
    assert not is_sure.any()
    assert depth_m.isfinite().all()


def test_a_surface_is_matched_at_the_median():
    distance = torch.tensor([[-0.1, 0.0, 0.1, 5.0, 9.0]], requires_grad=True)
    counts = torch.tensor([[True, True, True, True, False]])
    loss = matched_surface(distance, counts)
    assert loss.item() == pytest.approx((0.1 + 0.1 + 5.0) / 4)
    loss.backward()
    assert distance.grad[0].tolist() == [-0.25, 0.0, 0.25, 0.25, 0.0]
    assert matched_surface(distance, ~counts & False).item() == 0


def test_movers_are_not_explained():
    errors = torch.tensor([[[0.05, 0.3], [0.05, 0.3], [0.4, 0.5]]])
    # A static surface; something as fast as the vehicle; something that no depth explains.
    unmoved = torch.tensor([[0.3, 0.01, 0.6]])
    found = is_explained(errors, torch.ones_like(errors) > 0, unmoved, limit=0.25)
    assert found.tolist() == [[True, False, False]]
    assert not is_explained(errors, torch.zeros_like(errors) > 0, unmoved, limit=0.25).any()


def test_planes_are_smooth_and_bends_are_not_except_at_edges():
    column = torch.arange(8.0).expand(1, 6, 8)
    flat = torch.zeros(1, 3, 6, 8)
    plane = 0.02 + 0.01 * column
    assert plane_smoothness(plane, flat).item() == pytest.approx(0, abs=1e-5)
    bent = 0.02 + 0.01 * (column - 4).abs()
    edge = (column >= 4).float()[:, None].expand(-1, 3, -1, -1)
    cost = plane_smoothness(bent, flat).item()
    # One of six second differences along a row is 0.02, of a mean of 0.04.
    assert cost == pytest.approx(0.5 / 6, rel=1e-3)
    assert plane_smoothness(bent, edge).item() < 0.01 * cost


def test_a_distance_has_a_slope_of_one():
    slope = torch.zeros(1, 3, 2, 2, 2)
    slope[:, 2] = 1
    assert unit_slope(slope).item() == 0
    slope[:, 0] = 0.75
    assert unit_slope(slope).item() == pytest.approx(0.25**2)
