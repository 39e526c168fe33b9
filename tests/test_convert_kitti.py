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
    ring = [20 * np.cos(azimuth), 20 * np.sin(azimuth), -1 + 0 * azimuth, 0.5 + 0 * azimuth]
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
    # 1.73 m above the ground in KITTI, 2.7 m in the layout.
    np.testing.assert_allclose(cloud[:, 2], -1 - 0.97, rtol=1e-6)
    np.testing.assert_allclose(cloud[:, 3], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(np.fromfile(paths[layout.CLOUDS], "<f4")[3::4], 127.5)
    # Half a degree apart, 60 degrees to either side without the ends.
    assert len(cloud) == 239
    assert (np.abs(cloud[:, 1]) < cloud[:, 0] * np.tan(np.deg2rad(60))).all()
    calibration = read_calibration(paths[layout.CALIBS])
    pixel = calibration.pixel_from_lidar @ [10.0, 0, -0.97, 1]
    np.testing.assert_allclose(pixel[:3] / pixel[2], [40, 20, 1])
    # lidar = R·imu + (2, 3, 4), so imu = Rᵀ·(lidar − (2, 3, 4)).
    np.testing.assert_allclose(
        calibration.imu_or_world_from_lidar @ [2, 3, 4 - 0.97, 1], [0, 0, 0, 1], atol=1e-12
    )
    np.testing.assert_allclose(
        calibration.imu_or_world_from_lidar @ [2, 4, 4 - 0.97, 1], [1, 0, 0, 1], atol=1e-12
    )


def test_the_result_passes_the_check(kitti, tmp_path):
    run(kitti, tmp_path / "data", "--stems", "000001")
    report = check_dataset(tmp_path / "data", workers=1, progress=False)
    assert report.is_sound
    kinds = {finding.check for finding in report.findings}
    assert kinds == {"folder", "points"}  # No labels, and a cloud of few points.


def test_hidden_files_are_no_frames(kitti, tmp_path, capsys):
    (kitti / "velodyne/._000001.bin").write_bytes(b"macOS")
    run(kitti, tmp_path / "data")
    assert "1 frames in" in capsys.readouterr().out


def test_rejects_what_is_not_kitti(kitti, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"velodyne not found"):
        run(tmp_path, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="000009"):
        run(kitti, tmp_path / "data", "--stems", "000009")


def test_hidden_files_are_no_frames_and_suffixes_may_be_in_upper_case(kitti, tmp_path, capsys):
    for folder in ("image_2", "velodyne", "calib"):
        for path in list((kitti / folder).iterdir()):
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (kitti / "image_2/000001.png").rename(kitti / "image_2/000001.PNG")
    run(kitti, tmp_path / "data")
    assert "1 frames in" in capsys.readouterr().out


def test_the_height_of_the_lidar_is_an_option(kitti, tmp_path):
    run(kitti, tmp_path / "data", "--lidar-height", "2.7")
    cloud = read_cloud(tmp_path / "data/clouds/000001.bin")
    np.testing.assert_array_equal(cloud[:, 2], -1)


def test_the_pose_of_the_imu_is_optional(kitti, tmp_path):
    path = kitti / "calib/000001.txt"
    path.write_text(CALIBRATION.replace("Tr_imu", "Tr_other"))
    run(kitti, tmp_path / "data")
    written = read_calibration(tmp_path / "data/calibs/000001.txt")
    assert written.imu_or_world_from_lidar is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P2", "P9", r"calib/000001\.txt .*expected a line 'P2: numbers'"),
        ("velo: 0 -1 0 2", "velo: 0 -1 x 2", r"calib/000001\.txt .*numbers in 'Tr_imu_to_velo'"),
        ("velo: 0 -1 0 2", "velo: 0 0 0 2", r"calib/000001\.txt .*expected a rotation"),
        ("velo: 0 -1 0 2", "velo: 0 -1 0", r"calib/000001\.txt .*expected 12 numbers"),
    ],
)
def test_errors_in_calibrations_name_the_file(kitti, tmp_path, old, new, message):
    (kitti / "calib/000001.txt").write_text(CALIBRATION.replace(old, new))
    with pytest.raises(ValueError, match=message):
        run(kitti, tmp_path / "data")


def test_intensities_of_another_unit_are_an_error(kitti, tmp_path):
    path = kitti / "velodyne/000001.bin"
    (np.fromfile(path, "<f4").reshape(-1, 4) * [1, 1, 1, 255]).astype("<f4").tofile(path)
    with pytest.raises(ValueError, match=r"velodyne/000001\.bin .*0–1, found 100 % above"):
        run(kitti, tmp_path / "data")


def test_a_damaged_cloud_is_named(kitti, tmp_path):
    (kitti / "velodyne/000001.bin").write_bytes(bytes(18))
    with pytest.raises(ValueError, match=r"velodyne/000001\.bin .*multiple of 16 bytes"):
        run(kitti, tmp_path / "data")


def test_an_image_that_cannot_be_written_is_an_error(kitti, tmp_path):
    (tmp_path / "data/images/000001.jpg").mkdir(parents=True)
    with pytest.raises(OSError, match=r"000001\.jpg"):
        run(kitti, tmp_path / "data")
