from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.pictures.figures import (
    FigureOptions,
    comparison_table,
    film_frame,
    legend_of,
    views_table,
)
from engine.pictures.frame_page import ERRORS
from engine.pictures.frame_views import VIEWS
from engine.pictures.layers import FigureFrame, Layer
from engine.pictures.page import STYLES
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D

GRID = VoxelGrid((0.0, -9.6, -4.0), 1.2, (16, 16, 8))
ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")
LABEL = "Label"
SKY = (90, 160, 230)
OPTIONS = FigureOptions(width=500)


def layer(name, *, truck=False, note=""):
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[:, :, 0] = ROAD
    if truck:
        voxels[8:11, 6:9, 1:4] = TRUCK
    return Layer(name, voxels, GRID, UNSCENES3D, note, is_label=name == LABEL)


def frame(*layers, scene="scene_00001", bare=False):
    images = torch.zeros(1, 3, 60, 96, dtype=torch.uint8)
    images[:] = torch.tensor(SKY)[:, None, None]
    sample = Sample("1.5", scene, images=images, pixel_from_lidar=pinhole(60, 96, 50.0)[None])
    if bare:
        sample = Sample("1.5", scene)
    return FigureFrame(sample, layers or (layer("Ours"), layer(LABEL, truck=True)))


def share(picture, color):
    return (picture == color).all(-1).mean()


def test_a_frames_page_has_a_row_for_each_layer_and_a_column_for_each_view():
    table = views_table(frame(), OPTIONS)
    assert [name for name, _ in table.rows] == ["Input", "Ours", "Label"]
    assert table.columns == ["Camera's view", "From behind and above", "Bird's eye",
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


def test_a_films_picture_has_its_size_and_a_bar_that_grows():
    options = replace(OPTIONS, views=("driver",))
    first, last = (film_frame(frame(), part, (480, 270), options) for part in (0.25, 1.0))
    assert first.shape == last.shape == (270, 480, 3)
    ink = options.style.ink
    assert share(first[-3:], ink) == pytest.approx(0.25, abs=0.01)
    assert share(last[-3:], ink) == 1
    assert share(first, SKY) > 0.1
    np.testing.assert_array_equal(first[:-6], last[:-6])


def test_a_film_needs_room_for_its_cells():
    with pytest.raises(ValueError, match=r"3 pictures do not fit into \(64, 64\): give a larger"):
        film_frame(frame(), 0.5, (64, 64), replace(OPTIONS, views=("driver",)))


def test_all_four_views_of_a_bare_layer_are_drawn():
    picture = film_frame(
        frame(layer(LABEL, truck=True), bare=True), 1.0, (400, 300), replace(OPTIONS, views=VIEWS)
    )
    assert share(picture, OPTIONS.style.background) < 0.95
