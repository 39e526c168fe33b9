from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from dataset.sample import Sample
from engine.pictures.branch_maps import DEPTH, SEMANTIC, BranchMap
from engine.training.hooks import AverageHook
from engine.training.images_hook import (
    BLANK,
    PANEL_PX,
    ImagesHook,
    maps_page,
    top_view,
    top_view_page,
)
from tests.listed_frames import ListedFrames
from tests.model_inputs import GRID, make_batch, make_model
from utils.labels import FREE, IGNORE, UNSCENES3D

TRUCK, GROUND = 2, 11


def frames(number: int = 5) -> list[Sample]:
    batch = make_batch(1)
    fields = dict(
        images=batch.images[0],
        points=batch.points[0],
        pixel_from_lidar=batch.pixel_from_lidar[0],
        occupancy=batch.occupancy[0],
    )
    return [Sample(f"{index}.5", "scene", **fields) for index in range(number)]


def listed(number: int = 5) -> ListedFrames:
    return ListedFrames(frames(number))


def runner_of(network: nn.Module, rank: int = 0) -> tuple[Mock, dict]:
    runner, images = Mock(spec=Runner), {}
    runner.model, runner.rank, runner.epoch = network, rank, 4
    board = Mock()
    board.add_image = lambda tag, image, step: images.update({tag: (image, step)})
    runner.visualizer = Mock(get_backend=lambda _: board)
    return runner, images


@pytest.fixture(scope="module")
def network():
    return make_model().eval()


def test_the_same_few_frames_are_drawn_each_time(network):
    runner, images = runner_of(network)
    ImagesHook(listed(), UNSCENES3D).after_val_epoch(runner)
    stems = ("0.5", "2.5", "4.5")
    assert set(images) == {f"{kind}/{s}" for kind in ("from_above", "rendered") for s in stems}
    for image, step in images.values():
        assert step == 4
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_the_first_process_draws_alone(network):
    runner, images = runner_of(network, rank=1)
    ImagesHook(listed(1), UNSCENES3D).after_val_epoch(runner)
    assert images == {}


def test_what_renders_nothing_is_shown_from_above_alone():
    runner, images = runner_of(make_model(modality="lidar").eval())
    ImagesHook(listed(1), UNSCENES3D).after_val_epoch(runner)
    assert list(images) == ["from_above/0.5"]


def test_the_scored_weights_are_drawn():
    """mmengine calls hooks by their priority: the average must still be in its place."""
    runner = Mock(spec=Runner)
    runner._hooks = []
    for hook in (AverageHook(0.5), ImagesHook(listed(1), UNSCENES3D)):
        Runner.register_hook(runner, hook)
    assert [type(hook) for hook in runner._hooks] == [ImagesHook, AverageHook]


def test_maps_that_nothing_supervises_have_an_empty_partner():
    values = np.full((4, 8), 10.0, np.float32)
    page = maps_page("a", [BranchMap("camera", DEPTH, values, None)], UNSCENES3D, 20.0)
    with_target = maps_page("a", [BranchMap("camera", DEPTH, values, values)], UNSCENES3D, 20.0)
    assert page.shape == with_target.shape
    assert not np.array_equal(page, with_target)


def test_a_map_fills_a_panel():
    labels = np.array([[FREE, TRUCK], [IGNORE, TRUCK]], np.uint8)
    page = maps_page("a", [BranchMap("LiDAR", SEMANTIC, labels, labels)], UNSCENES3D, 20.0)
    of_truck = (page == UNSCENES3D.colors[TRUCK]).all(axis=-1).sum()
    assert of_truck >= 2 * PANEL_PX * PANEL_PX // 2  # Half of each of both panels.
    # What is free or ignored looks like nothing.
    assert (page == BLANK).all(axis=-1).sum() >= 2 * PANEL_PX * PANEL_PX // 2


def test_the_topmost_label_is_seen_from_above():
    occupancy = np.zeros((4, 4, 3), np.uint8)
    occupancy[:, :, 0] = GROUND
    occupancy[3, 0, 1] = TRUCK  # Far away, at the right.
    occupancy[3, 0, 2] = IGNORE
    occupancy[0, 3] = FREE
    drawn = top_view(occupancy, UNSCENES3D)
    assert tuple(drawn[0, -1]) == UNSCENES3D.colors[TRUCK]
    assert tuple(drawn[0, 0]) == UNSCENES3D.colors[GROUND]
    assert tuple(drawn[-1, 0]) == BLANK


def test_of_a_frame_without_label_only_the_prediction_is_drawn():
    sample = frames(1)[0]
    prediction = np.full(GRID.shape, TRUCK, np.uint8)
    wide = top_view_page(sample, prediction, UNSCENES3D)
    sample.occupancy = None
    page = top_view_page(sample, prediction, UNSCENES3D)
    assert page.shape[1] < wide.shape[1] - 2 * PANEL_PX
    is_truck = (page == UNSCENES3D.colors[TRUCK]).all(axis=-1)
    assert is_truck.sum() >= PANEL_PX * PANEL_PX


def test_without_a_camera_there_is_a_panel_less():
    sample = frames(1)[0]
    prediction = sample.occupancy.numpy().copy()
    prediction[prediction == IGNORE] = FREE
    wide = top_view_page(sample, prediction, UNSCENES3D)
    sample.images = None
    assert top_view_page(sample, prediction, UNSCENES3D).shape[1] < wide.shape[1] - PANEL_PX


def test_nothing_changes_in_the_network(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    runner, _ = runner_of(network)
    ImagesHook(listed(1), UNSCENES3D).after_val_epoch(runner)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
