import cv2
import numpy as np
import pytest

from dataset import layout
from dataset.check.run import check_dataset
from dataset.formats import read_calibration, read_cloud, read_image
from tools import convert_kitti

CALIBRATION = """P0: 1 0 0 0 0 1 0 0 0 0 1 0
P2: 50 0 40 0 0 50 20 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
Tr_imu_to_velo: 0 -1 0 2 1 0 0 3 0 0 1 4

"""


@pytest.fixture
def kitti(tmp_path):
    root = tmp_path / "training"
    for folder in ("image_2", "velodyne", "calib"):
        (root / folder).mkdir(parents=True)
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = (0, 0, 250)  # OpenCV's order: red.
    cv2.imwrite(str(root / "image_2/000001.png"), image)
    azimuth = np.deg2rad(np.linspace(-180, 180, 721)).astype(np.float32)
    ring = [20 * np.cos(azimuth), 20 * np.sin(azimuth), -1 + 0 * azimuth, 0 * azimuth]
    np.stack(ring, axis=1).astype("<f4").tofile(root / "velodyne/000001.bin")
    (root / "calib/000001.txt").write_text(CALIBRATION)
    return root


def run(kitti, out, *options):
    words = ["--kitti", str(kitti), "--out", str(out), *options]
    convert_kitti.main(convert_kitti.parse_arguments(words))


def test_a_frame_in_the_layout(kitti, tmp_path, capsys):
    out = tmp_path / "data"
    run(kitti, out)
    assert "1 frames in" in capsys.readouterr().out
    paths = {f: out / layout.relative_path(f, "000001") for f in layout.SUFFIXES}
    image = read_image(paths[layout.IMAGES])
    assert image.shape == (40, 80, 3)
    assert image[20, 70, 0] > 240  # Red is red.
    cloud = read_cloud(paths[layout.CLOUDS])
    # Half a degree apart, 60 degrees to either side without the ends.
    assert len(cloud) == 239
    assert (np.abs(cloud[:, 1]) < cloud[:, 0] * np.tan(np.deg2rad(60))).all()
    calibration = read_calibration(paths[layout.CALIBS])
    pixel = calibration.pixel_from_lidar @ [10.0, 0, 0, 1]
    np.testing.assert_allclose(pixel[:3] / pixel[2], [40, 20, 1])
    # lidar = R·imu + (2, 3, 4), so imu = Rᵀ·(lidar − (2, 3, 4)).
    np.testing.assert_allclose(
        calibration.imu_or_world_from_lidar @ [2, 3, 4, 1], [0, 0, 0, 1], atol=1e-12
    )
    np.testing.assert_allclose(
        calibration.imu_or_world_from_lidar @ [2, 4, 4, 1], [1, 0, 0, 1], atol=1e-12
    )


def test_the_result_passes_the_check(kitti, tmp_path):
    run(kitti, tmp_path / "data", "--stems", "000001")
    report = check_dataset(tmp_path / "data", workers=1, progress=False)
    assert report.is_sound
    kinds = {finding.check for finding in report.findings}
    # No labels, and a cloud of few points without intensity.
    assert kinds == {"folder", "points", "intensity"}


def test_hidden_files_are_no_frames(kitti, tmp_path, capsys):
    (kitti / "velodyne/._000001.bin").write_bytes(b"macOS")
    run(kitti, tmp_path / "data")
    assert "1 frames in" in capsys.readouterr().out


def test_rejects_what_is_not_kitti(kitti, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"velodyne not found"):
        run(tmp_path, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="000009"):
        run(kitti, tmp_path / "data", "--stems", "000009")
    path = kitti / "calib/000001.txt"
    path.write_text("P2: 1 2 3\n")
    with pytest.raises(ValueError, match=rf"{path} .*expected .*R0_rect|12 numbers for 'P2'"):
        run(kitti, tmp_path / "data")


def test_the_imu_may_be_missing(kitti, tmp_path):
    path = kitti / "calib/000001.txt"
    lines = [line for line in CALIBRATION.splitlines() if "imu" not in line]
    path.write_text("\n".join(lines))
    run(kitti, tmp_path / "data")
    found = read_calibration(tmp_path / "data" / layout.relative_path(layout.CALIBS, "000001"))
    assert found.imu_or_world_from_lidar is None


def test_hidden_files_are_no_frames_and_suffixes_may_be_in_upper_case(kitti, tmp_path, capsys):
    for folder in ("image_2", "velodyne", "calib"):
        for path in list((kitti / folder).iterdir()):
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (kitti / "image_2/000001.png").rename(kitti / "image_2/000001.PNG")
    run(kitti, tmp_path / "data")
    assert "1 frames in" in capsys.readouterr().out


def test_a_damaged_cloud_is_named(kitti, tmp_path):
    (kitti / "velodyne/000001.bin").write_bytes(bytes(18))
    with pytest.raises(ValueError, match=r"velodyne/000001\.bin .*multiple of 16 bytes"):
        run(kitti, tmp_path / "data")


def test_an_image_that_cannot_be_written_is_an_error(kitti, tmp_path):
    (tmp_path / "data/images/000001.jpg").mkdir(parents=True)
    with pytest.raises(OSError, match=r"000001\.jpg"):
        run(kitti, tmp_path / "data")
