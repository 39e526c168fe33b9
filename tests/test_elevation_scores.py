import math

import numpy as np
import pytest
import torch

from engine.metrics.depth_errors import depth_errors
from engine.metrics.elevation import RULE, ElevationMeter, elevation_errors

NAN = math.nan


def maps(pred, target):
    return torch.tensor([pred]), torch.tensor([target])


def test_errors_by_hand():
    # Below the level of 1 m: labels 2 and 4 m, predictions 1 and 4.03 m.
    errors = elevation_errors(*maps([0.0, -3.03, 7.0], [-1.0, -3.0, NAN]))
    assert errors.abs_rel == pytest.approx((1 / 2 + 0.03 / 4) / 2, rel=1e-5)
    assert errors.sq_rel == pytest.approx((1 / 2 + 0.0009 / 4) / 2, rel=1e-5)
    assert errors.rmse == pytest.approx(math.sqrt((1 + 0.0009) / 2), rel=1e-5)
    logs = (math.log(2) ** 2 + math.log(4.03 / 4) ** 2) / 2
    assert errors.rmse_log == pytest.approx(math.sqrt(logs), rel=1e-5)
    assert (errors.a1, errors.a2, errors.a3) == (0.5, 0.5, 0.5)  # A ratio of 2 is beyond 1.25³.
    assert errors.mae_cm == pytest.approx((100 + 3) / 2, rel=1e-5)
    assert (errors.within_2_cm, errors.within_5_cm, errors.within_10_cm) == (0.0, 0.5, 0.5)


def test_relative_errors_are_those_of_depth_below_the_level():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.uniform(-3, 0.9, (20, 30)))
    pred = target + torch.from_numpy(rng.normal(0, 0.1, (20, 30)))
    expected = depth_errors(1.0 - pred, 1.0 - target, RULE)
    assert elevation_errors(pred, target)[:7] == expected


def test_a_perfect_map():
    target = torch.linspace(-3, 0.99, 50).view(5, 10)
    errors = elevation_errors(target, target)
    assert errors[:4] == (0, 0, 0, 0)
    assert errors[4:] == (1, 1, 1, 0, 1, 1, 1)


def test_predictions_above_the_level_stay_finite():
    errors = elevation_errors(*maps([1.5], [0.9]))
    assert all(math.isfinite(value) for value in errors)
    assert errors.mae_cm == pytest.approx(60, rel=1e-5)  # Heights are not clamped.


def test_a_map_without_labels_does_not_count():
    meter = ElevationMeter()
    meter.update("a", *maps([-2.0], [-2.01]))
    assert meter.update("b", *maps([-2.0], [NAN])) is None
    scores = meter.scores()
    assert (scores.frames, scores.left_out) == (1, 1)
    assert scores.errors.mae_cm == pytest.approx(1.0, rel=1e-4)
    assert "1 map (1 more without labels)" in scores.table()


def test_each_map_counts_once_and_alike():
    meter = ElevationMeter()
    meter.update("a", *maps([-2.0], [-5.0]))
    meter.update("a", *maps([-2.0, -2.0], [-2.04, -2.0]))
    meter.update("b", *maps([-2.0], [-2.10]))
    assert meter.scores().errors.mae_cm == pytest.approx((2 + 10) / 2, rel=1e-4)


def test_nothing_to_score():
    scores = ElevationMeter().scores()
    assert scores.to_json()["mae_cm"] is None
    assert scores.to_json()["frames"] == 0
    assert scores.table().count(" -") >= 11


def test_the_json_names_every_error():
    meter = ElevationMeter()
    meter.update("a", *maps([-2.0], [-2.0]))
    found = meter.scores().to_json()
    assert found["within_5_cm"] == 1.0
    assert list(found)[:4] == ["abs_rel", "sq_rel", "rmse", "rmse_log"]
    assert found["frames"] == 1


def test_the_table_lines_up():
    meter = ElevationMeter()
    meter.update("a", *maps([-2.0], [-2.01]))
    titles, rule, values, again, *caption = meter.scores().table().splitlines()
    assert len(titles) == len(rule) == len(values) == len(again)
    assert "1.0 − z" in caption[0]


def test_a_prediction_that_cannot_be_scored_is_named():
    meter = ElevationMeter()
    with pytest.raises(ValueError, match=r"frame 16\.5: the prediction is NaN at 1 labeled pixels"):
        meter.update("16.5", *maps([NAN], [-2.0]))
