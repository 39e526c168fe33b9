import math

import numpy as np
import pytest
import torch

from engine.metrics.depth_errors import DepthErrors, DepthRule, depth_errors

PLAIN = DepthRule()


def slow_errors(pred, target, low=0.1, high=80.0, scale=1.0):
    """The errors by a loop over pixels."""
    rows = []
    for p, gt in zip(pred.flatten().tolist(), target.flatten().tolist(), strict=True):
        if not low < gt < high:
            continue
        p = min(max(p * scale, low), high)
        ratio = max(gt / p, p / gt)
        log_square = (math.log(gt) - math.log(p)) ** 2
        shares = [float(ratio < 1.25**k) for k in (1, 2, 3)]
        rows.append([abs(gt - p) / gt, (gt - p) ** 2 / gt, (gt - p) ** 2, log_square, *shares])
    means = np.mean(rows, axis=0)
    means[2:4] = np.sqrt(means[2:4])
    return means


def random_maps(seed, shape=(20, 30)):
    generator = torch.Generator().manual_seed(seed)
    target = 95 * torch.rand(shape, generator=generator)
    target = target.where(torch.rand(shape, generator=generator) < 0.6, torch.tensor(0.0))
    return target * (0.5 + torch.rand(shape, generator=generator)) + 0.05, target


def test_by_hand():
    target, pred = torch.tensor([4.0, 10.0, 0.0]), torch.tensor([5.0, 16.0, 3.0])
    expected = DepthErrors(
        abs_rel=(1 / 4 + 6 / 10) / 2,
        sq_rel=(1 / 4 + 36 / 10) / 2,
        rmse=math.sqrt((1 + 36) / 2),
        rmse_log=math.sqrt((math.log(1.25) ** 2 + math.log(1.6) ** 2) / 2),
        a1=0.0,  # 5 / 4 is 1.25, and not less.
        a2=0.5,
        a3=1.0,
    )
    assert depth_errors(pred, target, PLAIN) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_a_slow_loop(dtype):
    pred, target = (values.to(dtype) for values in random_maps(0))
    assert depth_errors(pred, target, PLAIN) == pytest.approx(slow_errors(pred, target), rel=1e-5)
    near = DepthRule(2.0, 30.0)
    assert depth_errors(pred, target, near) == pytest.approx(
        slow_errors(pred, target, 2.0, 30.0), rel=1e-5
    )


@pytest.mark.parametrize(("scaling", "median"), [("numpy", np.median), ("torch", torch.median)])
@pytest.mark.parametrize("pixels", [598, 599])
def test_median_scaling_is_over_the_pixels_that_count(scaling, median, pixels):
    pred, target = (values.flatten()[:pixels] for values in random_maps(1))
    counts = (target > 0.1) & (target < 80)
    scale = float(median(target[counts])) / float(median(pred[counts]))
    found = depth_errors(pred, target, DepthRule(median_scaling=scaling))
    assert found == pytest.approx(slow_errors(pred, target, scale=scale), rel=1e-5)
    assert depth_errors(pred * 7, target, DepthRule(median_scaling=scaling)) == pytest.approx(
        found, rel=1e-5
    )


def test_the_two_medians_of_an_even_number_of_pixels():
    target, pred = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])
    assert depth_errors(pred, target, DepthRule(median_scaling="numpy")).rmse == pytest.approx(1)
    of_torch = depth_errors(pred, target, DepthRule(median_scaling="torch"))
    assert of_torch.rmse == pytest.approx(math.sqrt(4 / 2))


def test_predictions_are_clamped_after_they_are_scaled():
    target, pred = torch.tensor([10.0, 20.0, 70.0]), torch.tensor([5.0, 10.0, 50.0])
    found = depth_errors(pred, target, DepthRule(median_scaling="torch"))
    assert found.rmse == pytest.approx(math.sqrt(10**2 / 3))  # 100 m become 80 m.
    endless = depth_errors(torch.tensor([math.inf]), torch.tensor([40.0]), PLAIN)
    assert endless.abs_rel == pytest.approx(1)
    zero = depth_errors(torch.tensor([0.0]), torch.tensor([0.2]), PLAIN)
    assert zero.abs_rel == pytest.approx(0.5)


def test_labels_at_the_ends_of_the_range_do_not_count():
    rule = DepthRule(0.5, 80.0)
    target = torch.tensor([0.5, 80.0, 0.0, -3.0, math.nan, math.inf, 90.0])
    assert depth_errors(torch.ones(7), target, rule) is None
    assert depth_errors(torch.ones(0, 5), torch.ones(0, 5), rule) is None
    inside = torch.tensor([0.501, 79.9])
    assert depth_errors(inside, inside, rule) == (0, 0, 0, 0, 1, 1, 1)


def test_predictions_elsewhere_may_be_anything():
    target = torch.tensor([[5.0, 0.0]])
    expected = depth_errors(torch.tensor([[6.0, 1.0]]), target, PLAIN)
    assert depth_errors(torch.tensor([[6.0, math.nan]]), target, PLAIN) == expected


def test_single_pixels_are_in_the_precision_of_the_files():
    # 4 / 3.2 is 1.25 in single precision, as in peers' code; the stored 3.2 is a little more.
    pred, target = torch.tensor([3.2]), torch.tensor([4.0])
    assert depth_errors(pred, target, PLAIN).a1 == 0
    assert depth_errors(pred.double(), target.double(), PLAIN).a1 == 1


def test_inputs_stay_as_they_were():
    pred, target = random_maps(2)
    before = pred.clone(), target.clone()
    depth_errors(pred, target, DepthRule(median_scaling="numpy"))
    assert torch.equal(pred, before[0])
    assert torch.equal(target, before[1])


def test_maps_that_cannot_be_scored_are_rejected():
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 4\) and \(4, 3\)"):
        depth_errors(torch.ones(3, 4), torch.ones(4, 3), PLAIN)
    with pytest.raises(ValueError, match="the prediction is NaN at 1 labeled pixels"):
        depth_errors(torch.tensor([math.nan, 1.0]), torch.ones(2), PLAIN)
    for pred in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match=r"median prediction is .* needs a positive"):
            depth_errors(torch.full((3,), pred), torch.ones(3), DepthRule(median_scaling="torch"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(min_depth_m=0.0), "0 < min < max, got 0–80 m"),
        (dict(min_depth_m=9.0, max_depth_m=9.0), "0 < min < max, got 9–9 m"),
        (dict(max_depth_m=math.nan), "0 < min < max, got 0.1–nan m"),
        (dict(median_scaling="mean"), "unknown median scaling 'mean'; known: "),
    ],
)
def test_rules_that_make_no_sense_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        DepthRule(**options)
