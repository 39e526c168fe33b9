import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.frames.sources import Predicted, ViewFrame
from engine.frames.splats import Splats
from engine.viewer.choice import (
    CAMERAS,
    DIFFERENCE,
    ELEVATION,
    GAUSSIANS,
    LABEL,
    POINTS,
    PREDICTION,
    UNLABELED,
    Choice,
    extras_of,
    layers_of,
    nearest_layer,
)
from engine.viewer.voxels import VoxelGroup

VOXELS = np.zeros((2, 2, 2), np.uint8)


def group(name, is_ground):
    return VoxelGroup(name, is_ground, np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), 1)


@pytest.mark.parametrize(
    ("choice", "name", "is_ground", "is_shown"),
    [
        (Choice(), "truck", False, True),
        (Choice(hidden=frozenset({"truck"})), "truck", False, False),
        (Choice(hidden=frozenset({"truck"})), "car", False, True),
        (Choice(ground=False), "terrain", True, False),
        (Choice(ground=False), "missed", False, True),
        (Choice(ground=False), "missed", True, False),
        (Choice(hidden=frozenset({"missed"})), "missed", True, False),
    ],
)
def test_what_is_shown(choice, name, is_ground, is_shown):
    assert choice.shows(group(name, is_ground)) == is_shown


def frame(*, predicted=False, labeled=False):
    sample = Sample("s", occupancy=torch.from_numpy(VOXELS) if labeled else None)
    return ViewFrame(sample, Predicted(VOXELS) if predicted else None)


def test_the_layers_of_a_frame():
    assert layers_of(frame()) == ()
    assert layers_of(frame(predicted=True)) == (PREDICTION,)
    assert layers_of(frame(labeled=True)) == (LABEL,)
    assert layers_of(frame(predicted=True, labeled=True)) == (PREDICTION, LABEL, DIFFERENCE)


def test_a_layer_that_is_not_there_is_replaced():
    assert nearest_layer(DIFFERENCE, frame(labeled=True)) == LABEL
    assert nearest_layer(DIFFERENCE, frame(predicted=True, labeled=True)) == DIFFERENCE
    assert nearest_layer(PREDICTION, frame()) is None


def test_the_extras_of_a_frame():
    assert extras_of(frame(predicted=True)) == ()
    sample = Sample(
        "s",
        images=torch.zeros(1, 3, 4, 5, dtype=torch.uint8),
        points=torch.zeros(2, 4),
        elevation_m=torch.zeros(3, 3),
    )
    assert extras_of(ViewFrame(sample)) == (POINTS, ELEVATION)  # A picture needs a calibration.
    sample.pixel_from_lidar = torch.eye(4)[None]
    empty = np.zeros((0, 3), np.float32)
    splats = Splats(empty, np.zeros((0, 3, 3), np.float32), empty, np.zeros((0, 1), np.float32))
    everything = ViewFrame(sample, Predicted(VOXELS, splats))
    assert extras_of(everything) == (POINTS, CAMERAS, ELEVATION, GAUSSIANS)


def test_labels_have_an_edge_where_some_voxels_have_none():
    assert extras_of(frame(labeled=True)) == ()
    sample = Sample("s", occupancy=torch.tensor([[[0, 255]]], dtype=torch.uint8))
    assert extras_of(ViewFrame(sample)) == (UNLABELED,)
