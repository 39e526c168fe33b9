import math

import pytest

from engine.pictures.robustness_chart import COLORS, ChartGroup, ChartRow, robustness_chart


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def test_a_bar_per_severity_as_long_as_its_share():
    rows = [ChartRow("lens_dirt", {1: 0.9, 3: 0.5}, 0.7), ChartRow("dark", {2: 1.2}, 1.2)]
    groups = [ChartGroup("camera", rows, 0.95), ChartGroup("LiDAR", rows[:1], 0.7)]
    figure = robustness_chart(groups, clean=0.2534, mean=0.8)
    camera, lidar = figure.axes
    bars = [(bar.get_width(), bar.get_facecolor()[:3]) for bar in camera.patches]
    assert bars == [(0.9, COLORS[1]), (0.5, COLORS[3]), (1.2, COLORS[2])]
    assert len(lidar.patches) == 2
    assert camera.get_xlim()[1] > 1.2
    texts = texts_of(figure)
    assert "mIoU under corruption: mRA 0.80, clean 25.34 %" in texts
    assert {"camera: mRA 0.95", "lens dirt", "0.70", "severity 3"} <= set(texts)
    figure.canvas.draw()


def test_what_is_undefined_is_a_dash():
    figure = robustness_chart([], clean=math.nan, mean=math.nan)
    assert any("mRA –" in text for text in texts_of(figure))
    figure.canvas.draw()
    assert robustness_chart([], clean=0.5, mean=1.0).get_size_inches()[0] == pytest.approx(8.5)
