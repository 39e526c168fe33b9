import math

import pytest
import torch

from loss.termination import termination_nll, unexplained_occupancy

ABSORBED = torch.tensor([[[0.1, 0.2, 0.4], [0.3, 0.5, 0.0]]], dtype=torch.float64)
ALL = torch.ones(1, 2, 3, dtype=torch.bool)


def test_a_wall_at_a_known_distance():
    # The first ray passes three segments and ends in a voxel of P(occupied) = 0.9.
    ending = torch.tensor([[math.log(0.9), 0.0]], dtype=torch.float64)
    has_end = torch.tensor([[True, False]])
    loss = termination_nll(ABSORBED, ALL, ending, has_end)
    assert loss.item() == pytest.approx((0.7 - math.log(0.9) + 0.8) / 2)


def test_segments_in_voxels_with_a_point_are_not_free():
    is_free = ALL.clone()
    is_free[0, 0, 2] = is_free[0, 1] = False
    ending = torch.full((1, 2), math.log(0.5), dtype=torch.float64)
    has_end = torch.tensor([[True, True]])
    loss = termination_nll(ABSORBED, is_free, ending, has_end)
    assert loss.item() == pytest.approx((0.3 + 2 * math.log(2)) / 2)


def test_an_occluder_before_the_end_costs_what_it_absorbs():
    ending = torch.zeros(1, 2, dtype=torch.float64)
    has_end = torch.ones(1, 2, dtype=torch.bool)
    occluded = ABSORBED.clone()
    occluded[0, 1, 1] += 5.0
    without, with_it = (
        termination_nll(absorbed, ALL, ending, has_end) for absorbed in (ABSORBED, occluded)
    )
    assert (with_it - without).item() == pytest.approx(5.0 / 2)


def test_rays_that_say_nothing_do_not_count():
    ending = torch.full((1, 2), -3.0, dtype=torch.float64)
    is_free = ALL.clone()
    is_free[0, 1] = False
    has_end = torch.tensor([[True, False]])
    loss = termination_nll(ABSORBED, is_free, ending, has_end)
    assert loss.item() == pytest.approx(0.7 + 3.0)


def test_without_rays_the_loss_is_a_differentiable_zero():
    absorbed = ABSORBED.clone().requires_grad_()
    off = torch.zeros(1, 2, dtype=torch.bool)
    loss = termination_nll(absorbed, ~ALL, torch.full((1, 2), -1.0).double(), off)
    loss.backward()
    assert loss.item() == 0
    assert not absorbed.grad.any()


def test_gradients():
    ending = torch.tensor([[-0.5, -2.0]], dtype=torch.float64, requires_grad=True)
    absorbed = ABSORBED.clone().requires_grad_()
    has_end = torch.tensor([[True, False]])
    assert torch.autograd.gradcheck(
        lambda a, e: termination_nll(a, ALL, e, has_end), (absorbed, ending)
    )
    log_free = torch.tensor([[[[-0.1, -2.0]]]], dtype=torch.float64, requires_grad=True)
    everywhere = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda f: unexplained_occupancy(f, everywhere), (log_free,))


def test_occupancy_without_a_point_is_unexplained():
    log_free = torch.tensor([0.75, 0.5, 0.9, 1.0]).log().view(1, 2, 2, 1)
    has_point = torch.tensor([True, False, False, False]).view(1, 2, 2, 1)
    assert unexplained_occupancy(log_free, ~has_point).item() == pytest.approx((0.5 + 0.1) / 3)
    assert unexplained_occupancy(log_free, has_point).item() == pytest.approx(0.25)
    assert unexplained_occupancy(log_free, torch.zeros_like(has_point)).item() == 0
