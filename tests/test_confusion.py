import numpy as np
import pytest
import torch

from engine.metrics.confusion import Confusion, confusion_matrix


def slow_matrix(pred, target, num_classes, ignore_label):
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for predicted, labeled in zip(pred.ravel().tolist(), target.ravel().tolist(), strict=True):
        if labeled != ignore_label:
            matrix[labeled, predicted] += 1
    return matrix


def random_pair(seed, num_classes, shape=(5, 4, 3), ignored=0.2):
    rng = np.random.default_rng(seed)
    pred = rng.integers(0, num_classes, shape, dtype=np.uint8)
    target = rng.integers(0, num_classes, shape, dtype=np.uint8)
    target[rng.random(shape) < ignored] = 255
    return pred, target


def test_by_hand():
    target = torch.tensor([0, 0, 1, 1, 2, 255], dtype=torch.uint8)
    pred = torch.tensor([0, 1, 1, 2, 2, 1], dtype=torch.uint8)
    expected = [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert confusion_matrix(pred, target, 3).tolist() == expected


@pytest.mark.parametrize("num_classes", [2, 12, 18, 255])
def test_agrees_with_a_slow_loop(num_classes):
    pred, target = random_pair(num_classes, num_classes)
    expected = slow_matrix(pred, target, num_classes, 255)
    assert np.array_equal(confusion_matrix(pred, target, num_classes).numpy(), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint32, np.int64, ">i4"])
def test_any_integer_type_of_numpy(dtype):
    pred, target = random_pair(1, 12, ignored=0)
    expected = confusion_matrix(pred, target, 12)
    assert torch.equal(confusion_matrix(pred.astype(dtype), target.astype(dtype), 12), expected)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integer_type_of_torch(dtype):
    pred, target = map(torch.from_numpy, random_pair(1, 12, ignored=0))
    expected = confusion_matrix(pred, target, 12)
    assert torch.equal(confusion_matrix(pred.to(dtype), target, 12), expected)
    assert torch.equal(confusion_matrix(pred, target.to(dtype), 12), expected)


def test_bool_grids_are_labels_0_and_1():
    target = np.array([True, True, False])
    assert confusion_matrix(target, target, 2).tolist() == [[1, 0], [0, 2]]


def test_views_and_read_only_arrays():
    pred, target = random_pair(2, 4)
    expected = confusion_matrix(pred[::-1].copy(), target[::-1].copy(), 4)
    assert torch.equal(confusion_matrix(pred[::-1], target[::-1], 4), expected)
    pred.flags.writeable = False
    assert torch.equal(confusion_matrix(pred[::-1], target[::-1], 4), expected)
    fortran = np.asfortranarray(target)
    assert torch.equal(
        confusion_matrix(pred, fortran, 4), confusion_matrix(pred, fortran.copy(order="C"), 4)
    )


def test_inputs_are_left_alone():
    pred, target = random_pair(3, 12)
    for convert in (np.copy, lambda array: torch.from_numpy(array.copy())):
        given_pred, given_target = convert(pred), convert(target)
        confusion_matrix(given_pred, given_target, 12, ignore_invalid=True, valid=given_pred > 3)
        assert np.array_equal(np.asarray(given_pred), pred)
        assert np.array_equal(np.asarray(given_target), target)


def test_what_is_predicted_at_ignored_voxels_plays_no_part():
    target = np.array([1, 255, 255], np.uint8)
    pred = np.array([1, 255, 77], np.uint8)
    assert confusion_matrix(pred, target, 3).sum() == 1


def test_another_ignored_label_may_be_a_class():
    target = np.array([0, 1, 2], np.uint8)
    pred = np.array([2, 0, 2], np.uint8)
    expected = [[0, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert confusion_matrix(pred, target, 3, ignore_label=0).tolist() == expected


def test_all_ignored_and_empty_give_zeros():
    ignored = np.full((2, 2, 2), 255, np.uint8)
    assert confusion_matrix(np.zeros_like(ignored), ignored, 3).sum() == 0
    assert confusion_matrix(np.zeros(0, np.int64), np.zeros(0, np.int64), 3).sum() == 0


def test_ignore_invalid_leaves_out_labels_that_are_no_class():
    target = np.array([0, 17, 18, 200, 300, -1])
    pred = np.array([0, 17, 0, 0, 0, 0])
    matrix = confusion_matrix(pred, target, 18, ignore_invalid=True)
    assert matrix.sum() == 2
    assert matrix[17, 17] == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_a_mask_says_which_voxels_count(dtype):
    pred, target = random_pair(4, 12)
    valid = np.random.default_rng(0).random(pred.shape) < 0.5
    expected = confusion_matrix(pred[valid], target[valid], 12)
    assert torch.equal(confusion_matrix(pred, target, 12, valid=valid.astype(dtype)), expected)


def test_counts_stay_exact_beyond_what_single_precision_holds():
    confusion = Confusion(2)
    grid = np.zeros((256, 256, 256), np.uint8)  # 2^24 voxels
    confusion.update(grid, grid)
    confusion.update(grid[:1, :1, :1], grid[:1, :1, :1])
    assert confusion.matrix[0, 0] == 2**24 + 1
    assert confusion.matrix.dtype == torch.int64
    confusion.matrix = confusion.matrix + 2**53
    confusion.merge(confusion)
    confusion.all_reduce()
    assert confusion.matrix[0, 0] == 2 * (2**24 + 1 + 2**53)


def test_update_sums_frames():
    confusion, pairs = Confusion(12), [random_pair(seed, 12) for seed in range(3)]
    for pred, target in pairs:
        confusion.update(pred, target)
    assert confusion.frames == 3
    expected = sum(slow_matrix(pred, target, 12, 255) for pred, target in pairs)
    assert np.array_equal(confusion.matrix.numpy(), expected)


def test_merging_parts_equals_counting_together():
    together, parts = Confusion(12), [Confusion(12), Confusion(12)]
    for seed in range(5):
        pred, target = random_pair(seed, 12)
        together.update(pred, target)
        parts[seed % 2].update(pred, target)
    parts[0].merge(parts[1])
    assert torch.equal(parts[0].matrix, together.matrix)
    assert parts[0].frames == together.frames == 5


def test_all_reduce_of_one_process_changes_nothing():
    confusion = Confusion(3)
    confusion.update(np.array([1]), np.array([2]))
    before = confusion.matrix.clone()
    confusion.all_reduce()
    assert torch.equal(confusion.matrix, before)
    assert confusion.frames == 1


def test_rejects_what_is_no_class():
    zero = np.zeros(3, np.uint8)
    with pytest.raises(ValueError, match=r"prediction of 1 scored voxels is \[255\].*0–2"):
        confusion_matrix(np.array([0, 1, 255], np.uint8), zero, 3)
    with pytest.raises(ValueError, match=r"label of 2 scored voxels is \[3, 7\]"):
        confusion_matrix(zero, np.array([0, 3, 7], np.uint8), 3)
    with pytest.raises(ValueError, match="label has values from -1 to 2; expected 0–255"):
        confusion_matrix(zero, np.array([0, -1, 2]), 3)
    with pytest.raises(ValueError, match="prediction has values from 0 to 300"):
        confusion_matrix(np.array([0, 300, 0]), zero, 3, ignore_invalid=True)


def test_rejects_other_shapes_and_types():
    grid = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(ValueError, match=r"differ in shape: \(2, 3, 4\) and \(4, 3, 2\)"):
        confusion_matrix(grid, grid.reshape(4, 3, 2), 3)
    with pytest.raises(ValueError, match="mask and prediction differ in shape"):
        confusion_matrix(grid, grid, 3, valid=np.ones(24, bool))
    with pytest.raises(ValueError, match="prediction must hold integers, got float64"):
        confusion_matrix(grid.astype(float), grid, 3)
    with pytest.raises(ValueError, match=r"label must hold integers, got torch\.float32"):
        confusion_matrix(grid, torch.zeros(2, 3, 4), 3)


def test_rejects_numbers_out_of_range():
    with pytest.raises(ValueError, match="number of classes must be 1–255, got 256"):
        Confusion(256)
    with pytest.raises(ValueError, match="ignored label must be 0–255, got -1"):
        Confusion(3, ignore_label=-1)


def test_rejects_to_merge_counts_by_other_rules():
    for other in (Confusion(4), Confusion(3, ignore_label=0), Confusion(3, ignore_invalid=True)):
        with pytest.raises(ValueError, match="cannot merge confusion matrices"):
            Confusion(3).merge(other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counts_on_the_gpu_are_those_on_the_cpu():
    pred, target = map(torch.from_numpy, random_pair(5, 12, shape=(64, 64, 16)))
    expected = confusion_matrix(pred, target, 12)
    assert torch.equal(confusion_matrix(pred.cuda(), target, 12), expected)
    assert torch.equal(confusion_matrix(pred.cuda(), target.cuda(), 12), expected)
