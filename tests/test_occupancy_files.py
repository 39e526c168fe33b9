import os
from pathlib import Path

import numpy as np
import pytest

from dataset.occupancy_files import (
    GridForm,
    check_labels,
    dense_from_rows,
    match_stems,
    read_labels,
    read_pair,
    write_prediction,
)
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D

STEM = "1689903584.278848"


@pytest.fixture
def folders(tmp_path):
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    pred.mkdir()
    gt.mkdir()
    return pred, gt


def save(path, array):
    np.save(path, np.asarray(array))
    return path


def test_stems_are_the_whole_name_before_the_suffix(folders):
    for folder in folders:
        for name in (f"{STEM}.npy", "10.5.npy", "notes.txt", f".{STEM}.npy.7.partial"):
            (folder / name).touch()
    assert match_stems(*folders) == ["10.5", STEM]


def test_a_frame_on_one_side_only_is_rejected_by_name(folders):
    pred, gt = folders
    for stem in ("a", "b"):
        (gt / f"{stem}.npy").touch()
    (pred / "a.npy").touch()
    with pytest.raises(FileNotFoundError, match=r"1 frames lack a prediction in .*pred: b"):
        match_stems(pred, gt)
    for stem in "bcdefghi":
        (pred / f"{stem}.npy").touch()
    with pytest.raises(FileNotFoundError, match=r"7 frames lack a label .*: c, d, e, f, g and 2"):
        match_stems(pred, gt)


def test_a_list_of_frames_leaves_the_others_alone(folders):
    pred, gt = folders
    for stem in ("a", "b", "c"):
        (gt / f"{stem}.npy").touch()
    (pred / "b.npy").touch()
    (pred / "d.npy").touch()
    assert match_stems(pred, gt, ["b"]) == ["b"]
    with pytest.raises(FileNotFoundError, match=r"lack a prediction in .*pred: a, c"):
        match_stems(pred, gt, ["c", "b", "a"])
    with pytest.raises(FileNotFoundError, match=r"lack a label in .*gt: d"):
        match_stems(pred, gt, ["b", "d"])
    with pytest.raises(ValueError, match="duplicate frames in the list: b"):
        match_stems(pred, gt, ["b", "b"])


def test_a_named_pipe_is_named_and_not_opened(folders):
    os.mkfifo(folders[0] / "a.npy")
    with pytest.raises(ValueError, match=r"pred/a\.npy: expected a file, found .* a named pipe"):
        match_stems(*folders)


def test_missing_and_empty_folders_are_rejected(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere not found"):
        match_stems(tmp_path / "nowhere", folders[1])
    with pytest.raises(ValueError, match="no frame to score"):
        match_stems(*folders)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    grid = np.arange(24).reshape(2, 3, 4)
    read = read_labels(save(tmp_path / "a.npy", grid.astype(dtype)))
    assert read.dtype.kind in "iu"
    assert np.array_equal(read, grid)


def test_bool_grids_are_labels_0_and_1(tmp_path):
    read = read_labels(save(tmp_path / "a.npy", [[[True, False]]]))
    assert (read.dtype, read.tolist()) == (np.uint8, [[[1, 0]]])


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_other_numbers_are_rejected(tmp_path, value):
    path = save(tmp_path / "a.npy", [[[1.0, value]]])
    with pytest.raises(ValueError, match=rf"a\.npy: labels must be whole numbers, got {value}"):
        read_labels(path)


@pytest.mark.parametrize("shape", [(4,), (5, 3), (1, 2, 3, 4)])
def test_other_shapes_are_rejected(tmp_path, shape):
    path = save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"a\.npy: expected a dense grid .* got shape \("):
        read_labels(path)


def test_other_types_and_broken_files_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="labels must be integers, got <U1"):
        read_labels(save(tmp_path / "a.npy", [[["x"]]]))
    whole = save(tmp_path / "b.npy", np.zeros((2, 2, 2))).read_bytes()
    for name, content in (("cut", whole[:-9]), ("empty", b""), ("text", b"1 2 3 4\n")):
        path = tmp_path / f"{name}.npy"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.npy: not a valid \.npy array") as caught:
            read_labels(path)
        assert "pickle" not in str(caught.value)  # numpy's advice would run the file's code.
    np.savez(tmp_path / "c.npz", np.zeros(3))
    Path(tmp_path / "c.npz").rename(tmp_path / "c.npy")
    with pytest.raises(ValueError, match="got an archive"):
        read_labels(tmp_path / "c.npy")
    with pytest.raises(FileNotFoundError, match=r"absent\.npy"):
        read_labels(tmp_path / "absent.npy")


def test_rows_become_a_grid():
    rows = np.array([[0, 1, 2, 3], [1, 0, 0, 0], [1, 1, 0, 5], [1, 1, 0, 6]])
    expected = np.full((2, 2, 3), 9)
    expected[0, 1, 2], expected[1, 0, 0] = 3, 255
    expected[1, 1, 0] = 6  # Of two rows for a voxel the later one holds.
    before = rows.copy()
    grid = dense_from_rows(rows, (2, 2, 3), free_label=9, relabel={0: 255})
    assert np.array_equal(grid, expected)
    assert np.array_equal(rows, before)


def test_no_rows_are_a_free_grid():
    rows = np.zeros((0, 4), np.int64)
    assert np.array_equal(dense_from_rows(rows, (1, 2, 2)), np.zeros((1, 2, 2)))


@pytest.mark.parametrize("row", [[0, 0, 2, 1], [-1, 0, 0, 1]])
def test_rows_off_the_grid_are_rejected(row):
    with pytest.raises(ValueError, match=rf"1 rows lie outside the 1×1×2 grid.*\[{row[0]}, 0,"):
        dense_from_rows(np.array([[0, 0, 0, 1], row]), (1, 1, 2))


ROWS = [[0, 0, 1, 0], [1, 0, 0, 2]]


def test_background_rows_are_ignored_in_labels_and_free_in_predictions(tmp_path):
    paths = save(tmp_path / "p.npy", ROWS), save(tmp_path / "t.npy", ROWS)
    pred, target = read_pair(*paths, GridForm((2, 1, 2), target_rows={0: 255}))
    assert pred.tolist() == [[[0, 0]], [[2, 0]]]
    assert target.tolist() == [[[0, 255]], [[2, 0]]]


@pytest.mark.parametrize("shape", [None, (9, 9, 9)])
def test_a_sparse_side_takes_the_shape_of_the_dense_one(tmp_path, shape):
    sparse, dense = save(tmp_path / "s.npy", ROWS), save(tmp_path / "d.npy", np.ones((2, 1, 3)))
    form = GridForm(shape, free_label=7)
    pred, target = read_pair(sparse, dense, form)
    assert pred.shape == target.shape == (2, 1, 3)
    assert pred[0, 0, 0] == 7
    assert read_pair(dense, sparse, form)[1].shape == (2, 1, 3)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_labels_are_brought_to_the_larger_voxels_of_predictions(tmp_path, is_sparse):
    labels = np.zeros((4, 2, 2), np.uint8)
    labels[0, 0, 0], labels[0, 1, 0], labels[1, 1, 1] = 5, 5, 3
    labels[3], labels[2, 0, 0] = 255, 255
    rows = np.array([[*at, labels[tuple(at)]] for at in np.argwhere(labels)])
    gt = save(tmp_path / "t.npy", rows if is_sparse else labels)
    pred = save(tmp_path / "p.npy", np.array([[[5]], [[0]]], np.uint8))
    got, target = read_pair(pred, gt, GridForm(None, coarsening=2))
    assert got.tolist() == [[[5]], [[0]]]
    assert target.tolist() == [[[5]], [[255]]]
    with pytest.raises(ValueError, match=r"t\.npy: "):
        read_pair(pred, gt, GridForm(None, coarsening=1))


def test_labels_that_cannot_be_coarsened_so_are_rejected(tmp_path):
    gt = save(tmp_path / "t.npy", np.zeros((4, 2, 3), np.uint8))
    rows = save(tmp_path / "p.npy", np.zeros((0, 4), np.uint8))
    with pytest.raises(ValueError, match=r"t\.npy: 2 does not divide the shape \(4, 2, 3\)"):
        read_pair(rows, gt, GridForm(None, coarsening=2))


def test_a_pair_of_unknown_or_different_shape_is_rejected(tmp_path):
    sparse = save(tmp_path / "s.npy", ROWS)
    with pytest.raises(ValueError, match=r"are both sparse: .*--grid X Y Z"):
        read_pair(sparse, sparse, GridForm(None))
    with pytest.raises(ValueError, match=r"s\.npy: 1 rows lie outside the 1×1×2 grid"):
        read_pair(sparse, sparse, GridForm((1, 1, 2)))
    one, two = (save(tmp_path / f"{n}.npy", np.zeros((n, 2, 3), np.uint8)) for n in (1, 2))
    with pytest.raises(ValueError, match=r"2\.npy: expected a grid of 1×2×3 .* got 2×2×3"):
        read_pair(one, two, GridForm(None))


def test_predictions_read_back_as_written(tmp_path):
    grid = np.random.default_rng(0).integers(0, 12, (4, 3, 2), dtype=np.uint8)
    path = write_prediction(tmp_path / "new" / "folder", STEM, grid)
    assert path.name == f"{STEM}.npy"
    assert np.array_equal(read_labels(path), grid)
    write_prediction(path.parent, STEM, grid + 1)
    assert np.array_equal(read_labels(path), grid + 1)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("stray", [-1, 256])
def test_labels_that_no_byte_holds_are_rejected_before_they_are_coarsened(tmp_path, stray):
    labels = np.zeros((2, 2, 2), np.int16)
    labels[0, 0, 0] = stray
    pred, gt = save(tmp_path / "p.npy", np.zeros((1, 1, 1), int)), save(tmp_path / "g.npy", labels)
    with pytest.raises(ValueError, match=rf"g.npy: expected labels in 0–255, got .*{stray}"):
        read_pair(pred, gt, GridForm(None, coarsening=2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((6, 8, 5), np.uint8), r"shape \(6, 8, 5\) do not fill the grid"),
        (np.full((6, 8, 4), 12, np.uint8), r"labels \[12\] are neither one of the 12 classes"),
    ],
)
def test_labels_of_another_grid_or_label_set_are_rejected(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, VoxelGrid((10.0, -4.0, -2.0), 0.5, (6, 8, 4)), UNSCENES3D)
