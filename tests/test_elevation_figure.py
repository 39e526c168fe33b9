import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.metrics.elevation import elevation_errors
from engine.pictures.color_maps import BLUE_WHITE_RED
from engine.pictures.elevation_figure import UNKNOWN, _close_gaps, draw_elevation

SHAPE = (60, 70)


def frame():
    rows, _ = np.indices(SHAPE)
    label = np.where(rows < 20, np.nan, -2.0 - 0.01 * rows).astype(np.float32)
    return Sample(stem="1689903584.278848", scene="scene_1", elevation_m=torch.from_numpy(label))


def draw(sample, predicted):
    errors = elevation_errors(torch.from_numpy(predicted), sample.elevation_m)
    return draw_elevation(sample, predicted, errors, method="network")


def area(picture, color, tolerance=2):
    return (np.abs(picture.astype(int) - color).max(-1) <= tolerance).sum()


def test_errors_have_their_colours_and_unknown_cells_are_grey():
    sample = frame()
    truth = np.nan_to_num(sample.elevation_m.numpy(), nan=-2.0)
    low, white, high = BLUE_WHITE_RED[[0, 127, 255]]
    too_high, too_low, right = (draw(sample, truth + shift) for shift in (0.5, -0.5, 0.0))
    # A ramp of the colour bar has a few pixels of each colour.
    assert area(too_high, high) > 10 * area(too_low, high)
    assert area(too_low, low) > 10 * area(too_high, low)
    assert area(right, white) > area(too_high, white) + 10_000
    cell = 7 * 7  # Pixels: 420 rows in 60.
    assert area(right, UNKNOWN, 0) == pytest.approx(2 * 19 * 70 * cell, rel=0.02)


def test_label_and_prediction_share_their_colours():
    sample = frame()
    truth = np.nan_to_num(sample.elevation_m.numpy(), nan=-2.0)
    picture = draw(sample, truth)
    thirds = np.array_split(picture[300:480], 3, axis=1)
    width = min(part.shape[1] for part in thirds)
    assert np.abs(thirds[0][:, 60:width - 200].astype(int).mean((0, 1))
                  - thirds[1][:, 60:width - 200].mean((0, 1))).max() < 12  # fmt: skip


def test_gaps_of_a_cell_show_the_mean_around_them():
    values = np.array([[1.0, np.nan, 3.0, np.nan, np.nan, np.nan]])
    closed = _close_gaps(values)
    np.testing.assert_allclose(closed, [[1.0, 2.0, 3.0, 3.0, np.nan, np.nan]])
    assert np.isnan(values).sum() == 4


def test_a_frame_without_any_label_is_drawn():
    sample = Sample(stem="1", elevation_m=torch.full(SHAPE, torch.nan))
    picture = draw(sample, np.full(SHAPE, -2.0, np.float32))
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 3 * 420


@pytest.mark.parametrize("label", [None, torch.zeros(3, 3)])
def test_other_cells_than_the_labels_are_refused(label):
    with pytest.raises(ValueError, match=r"frame 1: a prediction of \(60, 70\) cells"):
        draw_elevation(
            Sample(stem="1", elevation_m=label), np.zeros(SHAPE, np.float32), None, method="x"
        )
