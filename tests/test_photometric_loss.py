import pytest
import torch

from loss.photometric import (
    best_depth,
    best_sources,
    is_explained,
    match_exposure,
    patch_error,
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


DEPTHS_M = 3.0 * 1.1 ** torch.arange(5.0)


def test_the_best_depth_lies_between_proposals():
    # A parabola whose minimum is a quarter of a step behind the third depth.
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


def test_movers_are_not_explained():
    errors = torch.tensor([[[0.05, 0.3], [0.05, 0.3], [0.4, 0.5]]])
    # A static surface; something as fast as the vehicle; something that no depth explains.
    unmoved = torch.tensor([[0.3, 0.01, 0.6]])
    found = is_explained(errors, torch.ones_like(errors) > 0, unmoved, limit=0.25)
    assert found.tolist() == [[True, False, False]]
    assert not is_explained(errors, torch.zeros_like(errors) > 0, unmoved, limit=0.25).any()
