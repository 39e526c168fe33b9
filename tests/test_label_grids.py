import numpy as np
import pytest

from dataset.label_grids import labels_on_volume, resample_labels, whole_voxels
from dataset.transforms import coarsen_occupancy
from utils.geometry import VoxelGrid
from utils.labels import IGNORE

FINE = VoxelGrid((-1.0, -1.0, 0.0), 0.5, (4, 4, 2))
COARSE = VoxelGrid((-1.0, -1.0, 0.0), 1.0, (2, 2, 1))


def slow(labels, label_grid, volume_grid, label_from_volume, outside):
    result = np.full(volume_grid.shape, outside, labels.dtype)
    for index in np.ndindex(volume_grid.shape):
        center = volume_grid.meters_from_voxel(np.array(index) + 0.5)
        place = (label_from_volume @ [*center, 1.0])[:3]
        voxel = np.floor((place - label_grid.origin_m) / label_grid.voxel_m).astype(int)
        if (voxel >= 0).all() and (voxel < label_grid.shape).all():
            result[index] = labels[tuple(voxel)]
    return result


def turned(degrees, shift):
    matrix = np.eye(4)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:3, 3] = shift
    return matrix


def test_the_same_grid_in_the_same_frame_is_left_alone():
    labels = np.arange(32, dtype=np.uint8).reshape(FINE.shape)
    assert resample_labels(labels, FINE, FINE, np.eye(4)) is labels


def test_larger_voxels_take_the_label_at_their_center():
    labels = np.arange(4, dtype=np.uint8).reshape(COARSE.shape)
    fine = resample_labels(labels, COARSE, FINE, np.eye(4))
    np.testing.assert_array_equal(fine, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_a_turn_of_the_lidar_by_hand():
    # The volume's x (forward) is the labels' y: their frame has x to the right.
    label_from_volume = turned(90.0, (0, 0, 0))
    labels = np.arange(32, dtype=np.uint8).reshape(FINE.shape)
    result = resample_labels(labels, FINE, FINE, label_from_volume)
    # Ahead and to the left: volume (x 0.75, y 0.25) is label (x −0.25, y 0.75).
    assert result[3, 2, 0] == labels[1, 3, 0]
    np.testing.assert_array_equal(result, np.rot90(labels, -1))


def test_outside_is_ignored_or_what_is_asked_for():
    labels = np.full(FINE.shape, 3, np.uint8)
    moved = resample_labels(labels, FINE, FINE, turned(0.0, (0.5, 0.0, 0.0)))
    assert (moved[:3] == 3).all()
    assert (moved[3] == IGNORE).all()
    mask = resample_labels(labels > 0, FINE, FINE, turned(0, (0.5, 0, 0)), outside=0)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, moved == 3)


@pytest.mark.parametrize("degrees", [0.0, 33.0, -120.0])
def test_against_a_slow_loop(degrees):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 18, (9, 7, 5)).astype(np.uint8)
    label_grid = VoxelGrid((-2.0, -1.5, -1.0), 0.5, (9, 7, 5))
    volume_grid = VoxelGrid((-1.2, -1.6, -0.8), 0.4, (8, 8, 4))
    matrix = turned(degrees, (0.13, -0.31, 0.07))
    matrix[:3, :3] = matrix[:3, :3] @ np.array(
        [[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]  # And tilted.
    )
    before = labels.copy()
    result = resample_labels(labels, label_grid, volume_grid, matrix)
    np.testing.assert_array_equal(result, slow(labels, label_grid, volume_grid, matrix, IGNORE))
    np.testing.assert_array_equal(labels, before)
    assert len(np.unique(result)) > 5


def test_labels_of_another_grid_are_rejected():
    with pytest.raises(ValueError, match=r"shape of their grid, .* got \(2, 2, 1\)"):
        resample_labels(np.zeros(COARSE.shape, np.uint8), FINE, COARSE, np.eye(4))


@pytest.mark.parametrize(
    ("shape", "width_m", "factor"),
    [
        ((8, 8, 4), 0.8, 2),
        ((8, 8, 4), 0.79, 1),
        ((8, 8, 4), 0.1, 1),
        ((8, 8, 4), 1.2, 2),  # 3 fit, and do not divide 8.
        ((9, 9, 3), 1.2, 3),
    ],
)
def test_whole_voxels_of_a_width(shape, width_m, factor):
    assert whole_voxels(VoxelGrid((0.0, 0.0, 0.0), 0.4, shape), width_m) == factor


def test_finer_labels_are_coarsened_then_turned():
    labels = np.random.default_rng(0).integers(0, 5, FINE.shape).astype(np.uint8)
    found = labels_on_volume(labels, FINE, COARSE, turned(180.0, (0, 0, 0)))
    np.testing.assert_array_equal(found, coarsen_occupancy(labels, 2)[::-1, ::-1])
