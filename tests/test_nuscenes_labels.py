import io

import numpy as np
import pytest

from dataset.nuscenes.labels import (
    BENCHMARKS,
    benchmark,
    read_labels,
    read_occ3d,
    read_openoccupancy,
    read_surroundocc,
    relative_path,
    resample_labels,
    swap_free_and_others,
)
from utils.geometry import VoxelGrid
from utils.labels import IGNORE, NUSCENES

NAMES = dict(
    scene_name="scene-0061",
    scene_token="5c",
    sample_token="5a",
    lidar_token="1d",
    lidar_file="samples/LIDAR_TOP/n015__LIDAR_TOP__1532402927647951.pcd.bin",
)


def occ3d(path, **changes):
    shape = BENCHMARKS["occ3d"].grid.shape
    arrays = {
        "semantics": np.full(shape, 17, np.uint8),
        "mask_lidar": np.ones(shape, np.uint8),
        "mask_camera": np.zeros(shape, np.uint8),
    }
    arrays |= changes
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def rows_file(path, rows, dtype=np.int64):
    np.save(path, np.array(rows, dtype))
    return path


# --- files ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("occ3d", "gts/scene-0061/5a/labels.npz"),
        ("surroundocc", "samples/n015__LIDAR_TOP__1532402927647951.pcd.bin.npy"),
        ("openoccupancy", "scene_5c/occupancy/1d.npy"),
    ],
)
def test_paths_are_those_of_the_benchmarks(name, expected):
    assert relative_path(name, **NAMES) == expected


def test_grids_are_those_of_the_benchmarks():
    ends = {name: source.grid.end_m for name, source in BENCHMARKS.items()}
    np.testing.assert_allclose(ends["occ3d"], (40, 40, 5.4))
    np.testing.assert_allclose(ends["surroundocc"], (50, 50, 3))
    np.testing.assert_allclose(ends["openoccupancy"], (51.2, 51.2, 3))
    frames = {name: source.frame for name, source in BENCHMARKS.items()}
    assert frames == {"occ3d": "ego", "surroundocc": "lidar", "openoccupancy": "lidar"}


def test_occ3d(tmp_path):
    semantics = np.full((200, 200, 16), 17, np.uint8)
    semantics[1, 2, 3], semantics[4, 5, 6], semantics[0, 0, 0], semantics[9, 9, 9] = 0, 11, 16, 255
    mask = np.zeros_like(semantics)
    mask[1, 2, 3] = 1
    labels = read_occ3d(occ3d(tmp_path / "labels.npz", semantics=semantics, mask_camera=mask))
    assert labels.occupancy.dtype == np.uint8
    assert labels.occupancy[1, 2, 3] == NUSCENES.index("others") == 17
    assert labels.occupancy[4, 5, 6] == NUSCENES.index("driveable_surface")
    assert labels.occupancy[0, 0, 0] == NUSCENES.index("vegetation")
    assert labels.occupancy[9, 9, 9] == IGNORE
    assert (labels.occupancy == 0).sum() == semantics.size - 4
    assert np.argwhere(labels.mask_camera).tolist() == [[1, 2, 3]]
    assert labels.mask_lidar.all()
    assert (labels.grid, labels.frame) == (BENCHMARKS["occ3d"].grid, "ego")


def test_swapping_twice_changes_nothing():
    every = np.arange(256, dtype=np.uint8)
    swapped = swap_free_and_others(every)
    assert (swapped[0], swapped[17]) == (17, 0)
    changed = swapped != every
    assert np.flatnonzero(changed).tolist() == [0, 17]
    np.testing.assert_array_equal(swap_free_and_others(swapped), every)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32])
def test_surroundocc_and_openoccupancy(tmp_path, dtype):
    rows = [[1, 2, 3, 4], [150, 199, 15, 16], [7, 8, 9, 0]]
    labels = read_surroundocc(rows_file(tmp_path / "s.npy", rows, dtype))
    assert labels.occupancy.shape == (200, 200, 16)
    assert labels.occupancy[1, 2, 3] == NUSCENES.index("car")
    assert labels.occupancy[150, 199, 15] == NUSCENES.index("vegetation")
    assert labels.occupancy[7, 8, 9] == IGNORE  # Noise.
    assert (labels.occupancy == 0).sum() == 200 * 200 * 16 - 3
    assert labels.mask_camera is None

    swapped = [[z, y, x, label] for x, y, z, label in rows] + [[39, 500, 511, 1]]
    labels = read_openoccupancy(rows_file(tmp_path / "o.npy", swapped, dtype))
    assert labels.occupancy.shape == (512, 512, 40)
    assert labels.occupancy[1, 2, 3] == 4
    assert labels.occupancy[511, 500, 39] == 1
    assert labels.occupancy[7, 8, 9] == IGNORE
    assert labels.frame == "lidar"


def test_no_rows_are_an_empty_street(tmp_path):
    labels = read_surroundocc(rows_file(tmp_path / "s.npy", np.zeros((0, 4))))
    assert not labels.occupancy.any()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_read_labels_by_name(tmp_path, name):
    if name == "occ3d":
        path = occ3d(tmp_path / "labels.npz")
    else:
        path = rows_file(tmp_path / "rows.npy", [[1, 1, 1, 3]])
    assert read_labels(name, path).grid == BENCHMARKS[name].grid


def test_unknown_benchmarks_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"unknown labels 'kitti'; known: .*'surroundocc'"):
        read_labels("kitti", tmp_path / "labels.npz")
    assert benchmark("occ3d").has_masks


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_labels_are_named(tmp_path, name):
    path = tmp_path / "nothing.npy"
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy not found: unpack the labels"):
        read_labels(name, path)


WRONG_SHAPE = np.zeros((200, 200, 8), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"semantics": WRONG_SHAPE},
            r"shape \(200, 200, 16\) as 'semantics', got uint8 of shape",
        ),
        ({"mask_camera": WRONG_SHAPE}, "as 'mask_camera', got uint8 of shape"),
        ({"mask_lidar": np.zeros((200, 200, 16))}, "as 'mask_lidar', got float64"),
        ({"mask_camera": None}, r"expected the arrays .*'mask_camera'"),
        (
            {"semantics": np.full((200, 200, 16), 18)},
            r"classes 0–17, got 640000 voxels of \[18\]",
        ),
        ({"semantics": np.full((200, 200, 16), -1)}, r"classes 0–17, got .* of \[-1\]"),
        ({"semantics": np.array([{}], object)}, "expected the arrays .* allow_pickle=False"),
    ],
)
def test_damaged_occ3d_is_named(tmp_path, changes, message):
    path = occ3d(tmp_path / "labels.npz", **changes)
    with pytest.raises(ValueError, match=rf"labels\.npz: .*{message}"):
        read_occ3d(path)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_cut_occ3d_is_named(tmp_path, kept):
    rng = np.random.default_rng(0)
    semantics = rng.integers(0, 18, (200, 200, 16)).astype(np.uint8)
    path = occ3d(tmp_path / "labels.npz", semantics=semantics)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=r"labels\.npz: expected the arrays"):
        read_occ3d(path)
    path.write_bytes(data[:9000] + bytes(50) + data[9050:])
    with pytest.raises(ValueError, match=r"labels\.npz: expected the arrays"):
        read_occ3d(path)


def test_an_array_alone_is_not_occ3d(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, WRONG_SHAPE)
    path = tmp_path / "labels.npz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"labels\.npz: expected the arrays"):
        read_occ3d(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0, 0, 17]], r"classes 0–16, got 1 voxels of \[17\]"),
        ([[0, 0, 0, -1]], r"classes 0–16, got 1 voxels of \[-1\]"),
        ([[200, 0, 0, 1]], r"labels of surroundocc, got 1 rows lie outside the 200×200×16 grid"),
        ([[0, 0, -1, 1]], r"labels of surroundocc, got 1 rows lie outside"),
        ([[0, 0, 0]], r"expected a dense grid \(X, Y, Z\) or sparse rows"),
        ([[[0]]], r"expected rows of 4 columns, got shape \(1, 1, 1\)"),
        ([[0, 0, 0.5, 1]], "whole numbers"),
    ],
)
def test_damaged_rows_are_named(tmp_path, rows, message):
    path = rows_file(tmp_path / "rows.npy", rows, None)
    with pytest.raises(ValueError, match=rf"rows\.npy: .*{message}"):
        read_surroundocc(path)


def test_cut_rows_are_named(tmp_path):
    path = rows_file(tmp_path / "rows.npy", [[0, 0, 0, 1]] * 100)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"rows\.npy: not a valid \.npy array"):
        read_openoccupancy(path)


# --- resampling ---

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
