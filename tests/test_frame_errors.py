import math

import numpy as np
import pytest

from engine.pictures.frame_errors import ERRORS, error_labels, frame_scores, percent_of
from utils.labels import IGNORE, UNSCENES3D

ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")


def test_errors_by_hand():
    target = np.array([0, 0, ROAD, ROAD, ROAD, IGNORE, IGNORE], np.uint8).reshape(7, 1, 1)
    prediction = np.array([0, ROAD, ROAD, 0, TRUCK, ROAD, 0], np.uint8).reshape(7, 1, 1)
    names = [*(ERRORS.class_names[i] for i in error_labels(prediction, target).ravel()[:5])]
    assert names == ["free", "invented", "correct", "missed", "wrong class"]
    assert (error_labels(prediction, target).ravel()[5:] == IGNORE).all()


def test_frame_scores_by_hand():
    target = np.array([0, 0, ROAD, ROAD, TRUCK, IGNORE], np.uint8).reshape(6, 1, 1)
    prediction = np.array([0, ROAD, ROAD, ROAD, 0, TRUCK], np.uint8).reshape(6, 1, 1)
    scores = frame_scores(prediction, target, UNSCENES3D)
    assert scores.iou == pytest.approx(2 / 4)  # Two hit, one invented, one missed.
    assert scores.per_class_iou["driveable_surface"] == pytest.approx(2 / 3)
    assert scores.miou == pytest.approx((2 / 3 + 0) / 2)


def test_percent_has_one_digit_and_a_dash_for_nan():
    assert percent_of(0.91234) == "91.2"
    assert percent_of(math.nan) == "-"
