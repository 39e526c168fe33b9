import errno
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset import layout
from dataset.layout_files import vehicle_text
from dataset.minesim.sensors.rig import Camera, Rig
from dataset.minesim.write.writer import (
    Labels,
    VehicleRecording,
    write_labels,
    write_recording,
)

STEM = "1689903584.278848"
RIG = Rig(Camera(48, 30))


def _recording():
    image = np.zeros((30, 48, 3), np.uint8)
    image[..., 0] = 200  # Red.
    points = np.arange(8, dtype=np.float32).reshape(2, 4)
    return VehicleRecording(image, points, np.eye(4), np.array([5.0, 0, 0]), np.array([0.1, 0, 0]))


def _labels():
    return Labels(
        occupancy=np.array([[1, 2, 3, 11], [4, 5, 6, 0]], np.int32),
        depth=np.full((30, 48), 2560, np.uint16),
        elevation=np.full((204, 217), 65_000, np.uint16),
        local_map=np.ones((3, 3), np.float32),
        caption="A road.",
    )


def _matrices(text):
    lines = (line.split(": ") for line in text.splitlines())
    return {key: np.array(numbers.split(), dtype=float) for key, numbers in lines}


def test_recording_reads_back(tmp_path):
    write_recording(tmp_path, STEM, _recording(), RIG)
    image = cv2.imread(str(tmp_path / "images" / f"{STEM}.jpg"))
    assert image.shape == (30, 48, 3)
    assert image[..., 2].mean() > 190 > image[..., 0].mean()  # OpenCV reads BGR.
    cloud = np.fromfile(tmp_path / "clouds" / f"{STEM}.bin", np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(cloud, _recording().points)
    assert (tmp_path / "calibs" / f"{STEM}.txt").is_file()
    assert (tmp_path / "vehicle_infos" / f"{STEM}.txt").is_file()


def test_labels_read_back(tmp_path):
    write_labels(tmp_path, STEM, _labels())
    np.testing.assert_array_equal(np.load(tmp_path / "occ" / f"{STEM}.npy"), _labels().occupancy)
    for folder, value in (("depths", 2560), ("elevation", 65_000)):
        stored = cv2.imread(str(tmp_path / folder / f"{STEM}.png"), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint16
        assert (stored == value).all()
    local = np.fromfile(tmp_path / "localmap_clouds" / f"{STEM}.bin", np.float32)
    assert local.shape == (9,)
    assert (tmp_path / "image_caption" / f"{STEM}.txt").read_text() == "A road."


def test_depth_images_have_no_filters(tmp_path):
    depth = np.arange(30 * 48, dtype=np.uint16).reshape(30, 48)
    write_labels(tmp_path, STEM, replace(_labels(), depth=depth))
    data = (tmp_path / "depths" / f"{STEM}.png").read_bytes()
    at, packed = 8, b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        packed += data[at + 8 : at + 8 + length] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(30, 1 + 2 * 48)
    assert not rows[:, 0].any()
    np.testing.assert_array_equal(rows[:, 1:].copy().view(">u2"), depth)


def test_every_folder_of_the_layout_is_written(tmp_path):
    write_recording(tmp_path, STEM, _recording(), RIG)
    write_labels(tmp_path, STEM, _labels())
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {layout.relative_path(folder, STEM) for folder in layout.SUFFIXES}


def test_calibration_projects_like_the_camera(tmp_path):
    write_recording(tmp_path, STEM, _recording(), RIG)
    matrices = _matrices((tmp_path / layout.relative_path(layout.CALIBS, STEM)).read_text())
    assert {key: value.size for key, value in matrices.items()} == {
        "P2": 12, "R0_rect": 9, "Tr_velo_to_cam": 12, "Tr_velo_to_imu": 12,
    }  # fmt: skip
    rectify, velo_to_cam = np.eye(4), np.eye(4)
    rectify[:3, :3] = matrices["R0_rect"].reshape(3, 3)
    velo_to_cam[:3] = matrices["Tr_velo_to_cam"].reshape(3, 4)
    chain = matrices["P2"].reshape(3, 4) @ rectify @ velo_to_cam
    np.testing.assert_allclose(chain, RIG.pixel_from_lidar[:3], atol=1e-9)
    np.testing.assert_allclose(velo_to_cam, RIG.cam_from_lidar, atol=1e-12)
    np.testing.assert_allclose(
        matrices["Tr_velo_to_imu"].reshape(3, 4), RIG.vehicle_from_lidar[:3], atol=1e-12
    )


def test_vehicle_text_is_two_lines_without_a_newline_at_the_end():
    pose = np.eye(4)
    pose[:3, 3] = (10.0, -20.0, 3.5)
    text = vehicle_text(STEM, pose, np.array([8.0, 0.1, 0.0]), np.array([0.5, 0.0, -0.1]))
    assert not text.endswith("\n")
    first, second = text.split("\n")
    assert first.split()[0] == second.split()[0] == STEM
    assert np.allclose([float(v) for v in first.split()[1:]], [10, -20, 3.5, 0, 0, 0, 1])
    assert np.allclose([float(v) for v in second.split()[1:]], [8, 0.1, 0, 0.5, 0, -0.1])


def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def fail(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=rf"No space left on device: '.*{STEM}.jpg'"):
        write_recording(tmp_path, STEM, _recording(), RIG)
