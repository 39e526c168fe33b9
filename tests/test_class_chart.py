import numpy as np
import pytest

from engine.pictures.class_chart import LOWEST_SHARE, ClassRow, class_chart, percent, shades

RED, BLUE = (255, 0, 0), (0, 0, 255)


def chart(*rows):
    return class_chart("240 frames", "others", rows, note="objects", distances=["0–10", "10–20"])


def row(name="traffic_cone", color=RED, share=0.1, reference=0.2, spread=(0.75, 0.25)):
    return ClassRow(name, color, share, reference, "1.50", spread)


def bars_of(figure):
    """Width and color of the bars: those of the classes, then the reference's."""
    return [(bar.get_width(), bar.get_facecolor()[:3]) for bar in figure.axes[0].patches]


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def test_percent_tells_rare_classes_apart():
    assert percent(0.6791) == "67.9 %"
    assert percent(0.0085) == "0.85 %"
    assert percent(0.000012) == "0.0012 %"


def test_bars_are_as_long_as_the_shares_on_a_logarithmic_scale():
    figure = chart(row(share=1e-3), row(color=BLUE, share=1e-1))
    bars = bars_of(figure)
    assert bars[:2] == [(1e-3, (1, 0, 0)), (1e-1, (0, 0, 1))]
    assert [width for width, _ in bars[2:]] == [0.2, 0.2]
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (LOWEST_SHARE, 1.0)
    figure.canvas.draw()
    places = [axes.transData.transform((share, 0))[0] for share in (1e-6, 1e-3, 1e-1, 1.0)]
    assert (places[2] - places[0]) / (places[1] - places[0]) == pytest.approx(5 / 3)


def test_an_absent_class_has_no_bar():
    figure = chart(row(share=0.0, spread=(0.0, 0.0)))
    assert bars_of(figure)[0][0] == 0
    assert "none" in texts_of(figure)
    np.testing.assert_array_equal(shades([row(spread=(0.0, 0.0))]), np.ones((1, 2, 3)))


def test_distances_are_shaded_by_their_share():
    rows = [row(color=BLUE, spread=(0.8, 0.4)), row()]
    expected = [[[0, 0, 1], [0.5, 0.5, 1]], [[1, 0, 0], [1, 2 / 3, 2 / 3]]]
    np.testing.assert_allclose(shades(rows), expected)
    (cells,) = chart(*rows).axes[2].collections
    np.testing.assert_allclose(cells.get_array().reshape(2, 2, 3), expected)


def test_each_class_has_a_row_with_its_name_shares_and_note():
    one, three = chart(row()), chart(row(), row(name="truck"), row())
    names = [label.get_text() for label in three.axes[0].get_yticklabels()]
    assert names == ["traffic cone", "truck", "traffic cone"]
    assert texts_of(three).count("10.0 %") == texts_of(three).count("20.0 %") == 3
    assert texts_of(three).count("1.50") == 3
    assert "Share of labeled voxels (gray: others)" in texts_of(three)
    assert three.get_figheight() > one.get_figheight()
    first, last = (three.axes[0].transData.transform((1.0, place))[1] for place in (0, 2))
    assert first > last  # From top to bottom.
