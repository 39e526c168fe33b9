import cv2
import numpy as np
import pytest
import torch

from engine.evaluation.score_inputs import depth_path, read_depth_map, read_mask, read_origins


def save(path, array):
    np.save(path, np.asarray(array))
    return path


@pytest.mark.parametrize(
    ("stored", "read"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4")]
)
def test_depth_maps_of_meters_keep_their_precision(tmp_path, stored, read):
    depth = np.array([[0.5, 80.0, 0.0], [1.25, 2.0, 3.5]])
    found = read_depth_map(save(tmp_path / "a.npy", depth.astype(stored)))
    assert found.numpy().dtype == read
    assert np.array_equal(found.numpy(), depth)


def test_depth_images_are_meters_times_256(tmp_path):
    cv2.imwrite(str(tmp_path / "1.5.png"), np.array([[0, 256, 20480, 65535]], np.uint16))
    found = read_depth_map(tmp_path / "1.5.png")
    assert found.tolist() == [[0, 1, 80, 65535 / 256]]
    assert found.dtype == torch.float32


def test_a_depth_map_is_an_array_or_a_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"frame 1\.5: expected .*1\.5\.npy"):
        depth_path(tmp_path, "1.5")
    (tmp_path / "1.5.png").touch()
    assert depth_path(tmp_path, "1.5") == tmp_path / "1.5.png"
    (tmp_path / "1.5.npy").touch()
    with pytest.raises(ValueError, match=r"two depth maps of frame 1\.5: remove"):
        depth_path(tmp_path, "1.5")


@pytest.mark.parametrize("array", [np.ones((2, 3), np.uint16), np.ones((1, 2, 3)), np.ones(4)])
def test_what_is_no_depth_map_is_rejected(tmp_path, array):
    with pytest.raises(ValueError, match=r"a\.npy: expected a floating-point depth map \(H, W\)"):
        read_depth_map(save(tmp_path / "a.npy", array))


def test_broken_files_are_named(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY broken")
    for read in (read_depth_map, read_origins, lambda path: read_mask(path, (1, 1, 1))):
        with pytest.raises(ValueError, match=r"a\.npy: not a valid \.npy array"):
            read(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_masks_are_bool_or_0_and_1(tmp_path, dtype):
    mask = np.array([[[1, 0, 1]]])
    found = read_mask(save(tmp_path / "a.npy", mask.astype(dtype)), (1, 1, 3))
    assert found.dtype == bool
    assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.full((1, 1, 3), 17),
            r"bool or 0 and 1, got int64, up to 17 of shape \(1, 1, 3\)",
        ),
        (np.ones((1, 1, 3)), r"got float64 of shape \(1, 1, 3\)"),
        (np.ones((1, 3, 1), bool), r"expected a mask of shape \(1, 1, 3\), .* got bool of shape"),
    ],
)
def test_what_is_no_mask_is_rejected(tmp_path, mask, message):
    with pytest.raises(ValueError, match=message):
        read_mask(save(tmp_path / "a.npy", mask), (1, 1, 3))


def test_a_missing_mask_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mask .*a\.npy not found; every scored frame"):
        read_mask(tmp_path / "a.npy", (1, 1, 3))


@pytest.mark.parametrize(
    ("stored", "read"), [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("f2", "f8")]
)
def test_origins_keep_their_precision(tmp_path, stored, read):
    found = read_origins(save(tmp_path / "o.npy", np.array([[1, 2, 3], [4, 5, 6]], stored)))
    assert found.numpy().dtype == read
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((1, 2, 3)), np.ones((2, 4)), np.ones((2, 3), bool)]
)
def test_what_are_no_origins_is_rejected(tmp_path, array):
    with pytest.raises(ValueError, match=r"o\.npy: expected ray origins \(M, 3\) of x, y, z"):
        read_origins(save(tmp_path / "o.npy", array))


def test_missing_origins_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ray origins .*o\.npy not found; every scored"):
        read_origins(tmp_path / "o.npy")
