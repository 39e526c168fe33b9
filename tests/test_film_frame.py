from dataclasses import replace

import numpy as np
import pytest

from engine.pictures.film_frame import Cell, arrange, cell_title, cells_of, film_frame
from engine.pictures.frame_views import VIEWS
from tests.figure_frames import LABEL, OPTIONS, SKY, frame, layer, share


def test_a_frame_has_its_size_and_a_bar_that_grows():
    options = replace(OPTIONS, views=("driver",))
    first, last = (film_frame(frame(), part, (480, 270), options) for part in (0.25, 1.0))
    assert first.shape == last.shape == (270, 480, 3)
    ink = options.style.ink
    assert share(first[-3:], ink) == pytest.approx(0.25, abs=0.01)
    assert share(last[-3:], ink) == 1
    assert share(first, SKY) > 0.1
    np.testing.assert_array_equal(first[:-6], last[:-6])


def test_a_film_needs_room_for_its_cells():
    with pytest.raises(ValueError, match=r"3 panels do not fit into \(64, 64\): give a larger"):
        film_frame(frame(), 0.5, (64, 64), replace(OPTIONS, views=("driver",)))


def test_all_four_views_of_a_bare_layer_are_drawn():
    image = film_frame(
        frame(layer(LABEL, truck=True), bare=True), 1.0, (400, 300), replace(OPTIONS, views=VIEWS)
    )
    assert share(image, OPTIONS.style.background) < 0.95


def test_the_input_comes_first_then_each_layer_in_each_view():
    both = replace(OPTIONS, views=("driver", "bird"))
    cells = cells_of(frame(), both)
    names = [(cell.view, cell.layer and cell.layer.name) for cell in cells]
    assert names == [
        ("front", None),
        *[(view, name) for name in ("Ours", LABEL) for view in ("driver", "bird")],
    ]
    assert len(cells_of(frame(bare=True), both)) == 4
    assert len(cells_of(frame(), replace(both, inputs=False))) == 4


def test_cells_are_titled_by_layer_view_and_scores():
    one, both = (replace(OPTIONS, views=views) for views in (("bird",), ("driver", "bird")))
    noted = Cell("bird", layer("Ours", note="IoU 50.0"))
    assert cell_title(Cell("front", None), frame(), one) == ["Camera"]
    assert cell_title(Cell("front", None), frame(bare=True), one) == ["LiDAR"]
    assert cell_title(noted, frame(), one) == ["Ours"]
    assert cell_title(noted, frame(), both) == ["Ours: Bird's eye"]
    assert cell_title(noted, frame(), replace(one, scores=True)) == ["Ours", "IoU 50.0"]
    assert cell_title(Cell("bird", layer("Ours")), frame(), replace(one, scores=True)) == ["Ours"]


@pytest.mark.parametrize(
    ("size", "expected"), [((900, 200), (3, 300, 200)), ((300, 600), (1, 300, 200))]
)
def test_panels_are_as_large_as_the_film_allows(size, expected):
    assert arrange(3, *size) == expected
