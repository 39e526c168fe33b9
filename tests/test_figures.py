from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.pictures.figures import comparison_table, legend_of, views_table
from engine.pictures.frame_errors import ERRORS
from engine.pictures.layers import Layer
from engine.pictures.page import STYLES
from tests.figure_frames import GRID, LABEL, OPTIONS, SKY, frame, layer, share


def test_a_frames_page_has_a_row_for_each_layer_and_a_column_for_each_view():
    table = views_table(frame(), OPTIONS)
    assert [name for name, _ in table.rows] == ["Input", "Ours", "Label"]
    assert table.columns == ["Camera view", "From behind and above", "Bird's eye",
                             "From the right"]  # fmt: skip
    assert share(table.rows[0][1][0], SKY) == 1
    assert table.title == "scene_00001  ·  1.5"
    page = table.page(OPTIONS.style)
    assert page.shape[1] == pytest.approx(500, abs=8)


def test_inputs_and_title_can_be_left_out():
    options = replace(OPTIONS, inputs=False, title="", views=("bird",))
    table = views_table(frame(), options)
    assert [name for name, _ in table.rows] == ["Ours", "Label"]
    assert table.title == ""
    assert [name for name, _ in views_table(frame(bare=True), OPTIONS).rows] == ["Ours", "Label"]


def test_twice_the_scale_is_the_same_page_in_twice_the_pixels():
    style = OPTIONS.style
    options = replace(OPTIONS, views=("driver",), width=300)
    once = views_table(frame(), options).page(style)
    double = style._replace(scale=2)
    twice = views_table(frame(), replace(options, style=double)).page(double)
    assert twice.shape[0] == pytest.approx(2 * once.shape[0], abs=4)
    assert twice.shape[1] == pytest.approx(2 * once.shape[1], abs=4)
    small = cv2.resize(twice, once.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - once).mean() < 6


def test_a_dark_page_is_dark():
    dark = STYLES["dark"]
    page = views_table(frame(), replace(OPTIONS, style=dark, views=("bird",))).page(dark)
    assert tuple(page[0, 0]) == dark.paper
    assert share(page, dark.background) > 0.05
    assert share(page, (255, 255, 255)) == 0


def test_a_missing_label_and_its_errors_are_called_so():
    errors = layer("Ours")._replace(name="Ours: errors", labels=ERRORS)
    frames = [frame(layer("Ours"), errors, layer(LABEL)), frame(layer("Ours"))]
    table = comparison_table(frames, replace(OPTIONS, views=("front",)))
    assert table.columns == ["Input", "Ours", "Ours: errors", "Label"]
    blank_errors, blank_label = table.rows[1][1][2:]
    np.testing.assert_array_equal(blank_errors, blank_label)  # Both say "no label".


def test_methods_stand_beside_each_other_and_the_label_last():
    frames = [
        frame(layer("Peer"), layer(LABEL), scene="scene_a"),
        frame(layer("Peer"), layer("Ours"), scene="scene_b"),
    ]
    table = comparison_table(frames, replace(OPTIONS, views=("front", "bird")))
    assert table.columns == ["Input", "Peer", "Ours", "Label"]
    assert [name for name, _ in table.rows] == ["scene_a", "scene_a", "scene_b", "scene_b"]
    widths = {panel.shape[1] for _, panels in table.rows for panel in panels}
    assert len(widths) == 1
    assert share(table.rows[0][1][2], SKY) == 0  # "no ours", not another method's.
    assert share(table.rows[0][1][0], SKY) == 1
    assert table.page(OPTIONS.style).shape[1] == pytest.approx(500, abs=8)


def test_one_frame_has_no_name_beside_it():
    table = comparison_table([frame()], replace(OPTIONS, views=("front",)))
    assert [name for name, _ in table.rows] == [""]


def test_frames_are_named_as_told():
    options = replace(OPTIONS, views=("front",), row_names=("Day", "Night"))
    table = comparison_table([frame(), frame()], options)
    assert [name for name, _ in table.rows] == ["Day", "Night"]
    with pytest.raises(ValueError, match="--rows needs a name for each of the 1 frames, got 2"):
        comparison_table([frame()], options)


def test_the_legend_names_what_is_there_and_errors_apart():
    options = replace(OPTIONS, views=("front",))
    names = [entry.name for entry in legend_of([frame()], options)[0]]
    assert names == ["truck", "driveable surface"]
    (first,) = legend_of([frame()], OPTIONS, all_classes=True)
    assert len(first) == 11 + 1  # And the vehicle.
    errors = Layer("Ours: errors", np.ones(GRID.shape, np.uint8), GRID, ERRORS)
    groups = legend_of([frame(layer("Ours"), errors)], options)
    assert [entry.name for entry in groups[0]] == ["driveable surface"]
    assert [entry.name for entry in groups[1]] == ["correct", "missed", "invented", "wrong class"]


def test_scores_stand_in_the_first_view():
    noted = frame(layer("Ours", note="IoU 50.0  mIoU 20.0"))
    options = replace(OPTIONS, views=("driver", "bird"))
    with_scores = views_table(noted, replace(options, scores=True)).rows[1][1]
    without = views_table(noted, options).rows[1][1]
    assert (with_scores[0] != without[0]).any()
    np.testing.assert_array_equal(with_scores[1], without[1])


def test_every_panel_becomes_a_file_of_its_own(tmp_path):
    table = comparison_table([frame()], replace(OPTIONS, views=("front", "bird")))
    table.write_panels(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        f"1.5_{view}_{column}.png"
        for view in ("bird", "front")
        for column in ("input", "label", "ours")
    ]
    drawn = cv2.imread(str(tmp_path / "1.5_front_input.png"))
    assert drawn.shape == table.rows[0][1][0].shape
