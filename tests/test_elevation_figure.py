import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from dataset.elevation import ElevationGrid
from dataset.sample import Sample
from engine.metrics.elevation import elevation_errors
from engine.pictures.elevation_figure import (
    ERROR_CM,
    ERROR_COLORS,
    HEIGHT_COLORS,
    UNLABELED,
    _close_gaps,
    elevation_figure,
)

SHAPE = (60, 70)
CELLS = ElevationGrid((20.0, -10.0), 0.3, SHAPE)


def frame():
    rows, _ = np.indices(SHAPE)
    label = np.where(rows < 20, np.nan, -2.0 - 0.01 * rows).astype(np.float32)
    return Sample(stem="1689903584.278848", scene="scene_1", elevation_m=torch.from_numpy(label))


def draw(sample, predicted):
    errors = elevation_errors(torch.from_numpy(predicted), sample.elevation_m)
    return elevation_figure(sample, predicted, CELLS, errors, method="network")


def maps_of(figure):
    """The three maps, without the color bars."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def rgb_of(drawn):
    """Colors of the cells."""
    return drawn.to_rgba(drawn.get_array())[..., :3]


def test_errors_have_their_colors_and_unlabeled_cells_are_gray():
    sample = frame()
    truth = np.nan_to_num(sample.elevation_m.numpy(), nan=-2.0)
    for shift_m, place in ((0.5, 1.0), (-0.5, 0.0), (0.0, 0.5), (0.05, 0.75)):
        label, _, error = maps_of(draw(sample, truth + np.float32(shift_m)))
        expected = ERROR_COLORS(place)[:3]
        # A 256-step color map and float32 heights: one step of 1/255 and a bit.
        np.testing.assert_allclose(rgb_of(error)[30, 30], expected, atol=0.02)
        for drawn in (label, error):
            np.testing.assert_allclose(rgb_of(drawn)[5, 5], to_rgb(UNLABELED))


def test_label_and_prediction_share_their_colors():
    sample = frame()
    truth = np.nan_to_num(sample.elevation_m.numpy(), nan=-2.0)
    label, prediction, error = maps_of(draw(sample, truth))
    assert label.get_clim() == prediction.get_clim()
    assert label.cmap == prediction.cmap == HEIGHT_COLORS
    np.testing.assert_array_equal(rgb_of(label)[21:], rgb_of(prediction)[21:])
    assert error.get_clim() == (-ERROR_CM, ERROR_CM)


def test_forward_is_up_and_left_is_on_the_left_in_meters():
    sample = frame()
    figure = draw(sample, np.full(SHAPE, -2.0, np.float32))
    drawn = maps_of(figure)[0]
    left, right, near, far = drawn.get_extent()
    assert (left, right, near, far) == pytest.approx((11.0, -10.0, 20.0, 38.0))
    bars = [axes.get_ylabel() for axes in figure.axes if not axes.images]
    assert bars == ["height [m]", "error [cm]"]


def test_titles_name_the_frame_the_method_and_the_errors():
    sample = frame()
    truth = np.nan_to_num(sample.elevation_m.numpy(), nan=-2.0)
    figure = draw(sample, truth + np.float32(0.04))
    texts = [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]
    assert "scene_1  ·  1689903584.278848" in texts
    assert "Prediction: network" in texts
    assert "MAE 4.0 cm, 100 % within 5 cm" in texts


def test_gaps_of_a_cell_show_the_mean_around_them():
    values = np.array([[1.0, np.nan, 3.0, np.nan, np.nan, np.nan]])
    closed = _close_gaps(values)
    np.testing.assert_allclose(closed, [[1.0, 2.0, 3.0, 3.0, np.nan, np.nan]])
    assert np.isnan(values).sum() == 4


def test_a_frame_without_any_label_is_drawn():
    sample = Sample(stem="1", elevation_m=torch.full(SHAPE, torch.nan))
    figure = elevation_figure(
        sample, np.full(SHAPE, -2.0, np.float32), CELLS, None, method="network"
    )
    assert "no label" in [text.get_text() for text in figure.texts]
    figure.canvas.draw()


@pytest.mark.parametrize("label", [None, torch.zeros(3, 3)])
def test_other_cells_than_the_labels_are_rejected(label):
    sample = Sample(stem="1", elevation_m=label)
    with pytest.raises(ValueError, match=r"frame 1: a prediction of \(60, 70\) cells"):
        elevation_figure(sample, np.zeros(SHAPE, np.float32), CELLS, None, method="x")
