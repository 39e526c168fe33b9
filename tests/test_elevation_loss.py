import math

import pytest
import torch

from loss.elevation import BETA_M, NEAR_M, NEAR_WEIGHT, elevation_loss

NAN = torch.nan


def near(error):
    return NEAR_WEIGHT * math.log1p(error / NEAR_M)


def test_by_hand():
    target = torch.tensor([[[-2.0, NAN], [-2.5, -3.0]]])
    pred = torch.tensor([[[-1.5, 9.0], [-2.5, -3.2]]])
    # Beyond beta: the error less half of beta.
    expected = (0.5 + near(0.5) + 0.2 + near(0.2) - 2 * BETA_M / 2) / 3
    assert elevation_loss(pred, target).item() == pytest.approx(expected)


def test_small_errors_count_by_their_square_beside_the_logarithm():
    target = torch.zeros(1, 1, 1)
    error = BETA_M / 2
    expected = 0.5 * error**2 / BETA_M + near(error)
    assert elevation_loss(target + error, target).item() == pytest.approx(expected)


def test_a_centimeter_near_the_label_counts_more_than_one_far_from_it():
    target = torch.zeros(1, 1, 1)
    at = [elevation_loss(target + error, target) for error in (0.02, 0.03, 1.0, 1.01)]
    assert at[1] - at[0] > 1.8 * (at[3] - at[2])


def test_unknown_cells_give_neither_loss_nor_gradient():
    pred = torch.zeros(2, 3, 4, requires_grad=True)
    target = torch.full((2, 3, 4), NAN)
    loss = elevation_loss(pred, target)
    loss.backward()
    assert loss == 0
    assert not pred.grad.any()
    target[0, 1, 2] = 1.0
    (gradient,) = torch.autograd.grad(elevation_loss(pred, target), pred)
    assert torch.nonzero(gradient).tolist() == [[0, 1, 2]]
    assert gradient[0, 1, 2].item() == pytest.approx(-1 - NEAR_WEIGHT / (NEAR_M + 1))


def test_a_label_of_other_cells_is_rejected():
    with pytest.raises(ValueError, match=r"\(1, 2\) cells, the predicted map has \(2, 4\)"):
        elevation_loss(torch.zeros(1, 2, 4), torch.zeros(1, 1, 2))


def test_a_nan_in_the_prediction_shows():
    target = torch.zeros(1, 2, 2)
    assert elevation_loss(torch.full((1, 2, 2), NAN), target).isnan()
