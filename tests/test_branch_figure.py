import numpy as np
import torch

from engine.pictures.branch_figure import branch_tables, stack_pages
from engine.pictures.branch_maps import DEPTH, SEMANTIC, BranchMap, RenderedFrame
from engine.pictures.page import STYLES
from tests.figure_frames import GRID, LABEL, OPTIONS, TRUCK, frame, layer
from utils.labels import UNSCENES3D

WHITE = STYLES["white"]


def rendered(*, target):
    labels = np.full((30, 48), TRUCK, np.uint8)
    depth = np.full((30, 48), 20.0, np.float32)
    return RenderedFrame(
        (
            BranchMap("LiDAR", SEMANTIC, labels, labels if target else None),
            BranchMap("camera", DEPTH, depth, None),
        ),
        np.zeros(GRID.shape, np.uint8),
        50.0,
    )


def test_maps_stand_over_what_supervises_them_and_the_occupancy_below():
    maps, occupancy = branch_tables(frame(), rendered(target=True), UNSCENES3D, OPTIONS)
    assert maps.columns == ["LiDAR volume: semantics", "Camera volume: depth"]
    assert [name for name, _ in maps.rows] == ["Predicted", "Supervision"]
    shown, blank = maps.rows[1][1]
    assert (shown == UNSCENES3D.colors[TRUCK]).all()
    assert (blank == WHITE.background).all()
    assert occupancy.columns[0] == "Input"
    assert [name for name, _ in occupancy.rows] == ["Ours", LABEL]
    names = [entry.name for entry in occupancy.legend[-1]]
    assert names == ["depth, 0 to 50 m", "not supervised"]


def test_the_legend_names_the_classes_that_only_maps_show():
    terrain, car = UNSCENES3D.index("terrain"), UNSCENES3D.index("car")
    shown = rendered(target=True)
    values, target = np.full((30, 48), terrain, np.uint8), np.full((30, 48), 255, np.uint8)
    target[:5] = car
    maps = (shown.maps[0]._replace(values=values, target=target), shown.maps[1])
    _, occupancy = branch_tables(frame(), shown._replace(maps=maps), UNSCENES3D, OPTIONS)
    names = {entry.name for entry in occupancy.legend[0]}
    assert {"terrain", "car", "driveable surface", "truck"} <= names


def test_without_a_label_there_is_no_supervision_to_show():
    bare = frame(layer("Ours"))
    bare.sample.points = torch.tensor([[8.0, 0.0, -3.0, 1.0]])
    maps, occupancy = branch_tables(bare, rendered(target=False), UNSCENES3D, OPTIONS)
    assert [name for name, _ in maps.rows] == ["Predicted"]
    assert [entry.name for entry in occupancy.legend[-1]] == ["depth, 0 to 50 m"]


def test_pages_below_each_other_are_as_wide_as_the_widest():
    page = stack_pages([np.zeros((3, 10, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], WHITE)
    assert page.shape == (7, 10, 3)
    assert (page[3:, 6:] == WHITE.paper).all()
    assert not page[3:, :6].any()
