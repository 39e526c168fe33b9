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
    swap_free_and_others,
)
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
