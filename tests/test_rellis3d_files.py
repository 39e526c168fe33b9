import numpy as np
import pytest

from dataset.rellis3d import files
from dataset.rellis3d.layout import NETWORK_FROM_OUSTER
from tests.rellis3d_files import (
    GRASS,
    QUATERNION,
    SHIFT,
    Frame,
    camera,
    map_from_lidar,
    photo,
    scan,
    write_tiny_rellis,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Rellis-3D"
    return write_tiny_rellis(root, sequences=("00000",), frames=2).root / "00000"


def cloud_of(path, records):
    np.asarray(records, np.float32).tofile(path)
    return path


# --- clouds ---


def test_x_and_y_are_turned_and_records_without_a_point_dropped(tmp_path):
    path = cloud_of(tmp_path / "0.bin", [[-5, 1, 2, 0.01], [0, 0, 0, 0], [3, -4, -1, 0.0025]])
    cloud = files.read_cloud(path, 0.005)
    # Intensities above the maximum become 1.
    np.testing.assert_allclose(cloud.points, [[5, -1, 2, 1.0], [-3, 4, -1, 0.5]])
    assert (cloud.records.tolist(), cloud.num_records) == ([0, 2], 3)
    assert cloud.points.dtype == np.float32


def test_a_cut_cloud_is_named(tmp_path):
    path = cloud_of(tmp_path / "7.bin", np.ones((9, 4)))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"7\.bin .*expected rows of 4 float32"):
        files.read_cloud(path, 1.0)


def test_labels_are_those_of_the_points_that_are_left(folder):
    cloud = files.read_cloud(folder / "os1_cloud_node_kitti_bin/000001.bin", 1 / 64)
    path = folder / "os1_cloud_node_semantickitti_label_id/000001.label"
    ids = files.read_point_labels(path, cloud)
    records, expected = scan(Frame("00000", 1))
    np.testing.assert_array_equal(ids, expected[records[:, :3].any(axis=1)])
    assert (ids == GRASS).mean() > 0.3
    assert cloud.num_records == len(records) > len(ids)


def test_upper_bits_of_labels_do_not_count(tmp_path):
    cloud = files.read_cloud(cloud_of(tmp_path / "0.bin", [[1, 1, 1, 0]]), 1.0)
    path = tmp_path / "0.label"
    np.array([19 | 7 << 16], "<u4").tofile(path)
    assert files.read_point_labels(path, cloud).tolist() == [19]
    path.write_bytes(b"12")
    with pytest.raises(ValueError, match=r"0\.label: expected a uint32 for each of the 1 points"):
        files.read_point_labels(path, cloud)
    with pytest.raises(FileNotFoundError, match=r"1\.label not found: each cloud needs"):
        files.read_point_labels(tmp_path / "1.label", cloud)


# --- calibration ---


def test_the_published_example_by_hand(folder):
    """camera from Ouster, as worked out from the example's quaternion."""
    cam_from_ouster = np.linalg.inv(files.read_camera_pose(folder / "transforms.yaml"))
    expected = [
        [0.03462, 0.99936, -0.00893, -0.03566],
        [0.00479, -0.00910, -0.99995, -0.17155],
        [-0.99939, 0.03458, -0.00510, -0.13379],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(cam_from_ouster, expected, atol=2e-5)


def test_ahead_is_in_the_middle_left_is_left_and_depth_grows_ahead(folder):
    matrix = files.pixel_from_lidar(
        files.read_camera_info(folder / "camera_info.txt"),
        files.read_camera_pose(folder / "transforms.yaml"),
    )

    def pixel(*point):
        u, v, depth, _ = matrix @ [*point, 1.0]
        return u / depth, v / depth, depth

    middle, left, low = pixel(20, 0, 0), pixel(20, 3, 0), pixel(20, 0, -1)
    assert 60 < middle[0] < 130
    assert 30 < middle[1] < 90
    assert middle[2] == pytest.approx(19.85, abs=0.1)
    assert left[0] < middle[0] - 20
    assert low[1] > middle[1] + 10


def test_points_fall_on_pixels_of_their_class(folder):
    """The share is 1 but for edges; read the wrong way, it is no better than chance."""
    cloud = files.read_cloud(folder / "os1_cloud_node_kitti_bin/000000.bin", 1 / 64)
    ids = files.read_point_labels(
        folder / "os1_cloud_node_semantickitti_label_id/000000.label", cloud
    )
    intrinsics = files.read_camera_info(folder / "camera_info.txt")
    pose = files.read_camera_pose(folder / "transforms.yaml")
    image = photo(Frame("00000", 0))

    def agreement(matrix):
        u, v, depth = (matrix @ np.c_[cloud.points[:, :3], np.ones(len(ids))].T)[:3]
        u, v = u / depth, v / depth
        seen = (depth > 0.5) & (u > 0) & (u < image.shape[1]) & (v > 0) & (v < image.shape[0])
        found = image[v[seen].astype(int), u[seen].astype(int)] == ids[seen]
        return found.mean() if len(found) else 0.0

    assert agreement(files.pixel_from_lidar(intrinsics, pose)) > 0.9
    assert agreement(files.pixel_from_lidar(intrinsics, np.linalg.inv(pose))) < 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected content, found an empty file"),
        ("1 2 3\n", r"camera_info\.txt: expected the four numbers fx fy cx cy, found '1 2 3'"),
        ("1 2 3 x\n", "expected the four numbers fx fy cx cy, found '1 2 3 x'"),
        ("-1 2 3 4\n", "expected rows f 0 u"),
    ],
)
def test_intrinsics_that_are_none(tmp_path, text, message):
    path = tmp_path / "camera_info.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        files.read_camera_info(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", r"expected 'os1_cloud_node-pylon_camera_node' with q: .*KeyError"),
        ("[1\n", r"found '\[1' \(ParserError"),
        ("os1_cloud_node-pylon_camera_node: {q: {w: 2, x: 0, y: 0, z: 0}, t: {x: 0, y: 0, z: 0}}",
         "expected a unit quaternion .* found a length of 2"),
    ],
)  # fmt: skip
def test_camera_poses_that_are_none(tmp_path, text, message):
    path = tmp_path / "transforms.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        files.read_camera_pose(path)


def test_a_missing_calibration_names_the_other_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"transforms\.yaml not found: .* Rellis_3D/"):
        files.read_camera_pose(tmp_path / "transforms.yaml")


def test_the_example_is_that_of_the_release():
    _, lidar_from_cam = camera()
    assert np.linalg.norm(QUATERNION) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(lidar_from_cam[:3, 3], [-SHIFT[0], -SHIFT[1], SHIFT[2]])
    # The camera looks along x of the network's frame.
    np.testing.assert_allclose(lidar_from_cam[:3, 2], [1, 0, 0], atol=0.05)


# --- poses ---


def test_poses_are_of_the_turned_frame(folder):
    poses = files.read_poses(folder / "poses.txt")
    assert poses.is_known.all()
    expected = [map_from_lidar(Frame("00000", number)) for number in range(2)]
    np.testing.assert_allclose(poses.world_from_lidar, expected, atol=1e-8)


def test_rows_that_are_no_pose_are_marked(tmp_path):
    good = np.eye(4)[:3]
    wrong = [2 * good, np.diag([1, 1, -1.0, 1])[:3], good + 1e9 * np.eye(3, 4, 3), good * np.nan]
    path = tmp_path / "poses.txt"
    np.savetxt(path, np.array([good, *wrong, good]).reshape(-1, 12))
    poses = files.read_poses(path)
    assert poses.is_known.tolist() == [True, False, False, False, False, True]
    np.testing.assert_allclose(poses.world_from_lidar[5], NETWORK_FROM_OUSTER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", r"expected 12 numbers in each line, found 3 in line 1"),
        ("1 " * 11 + "x\n", r"poses\.txt: expected numbers, found"),
        ("\n", "found no line"),
    ],
)
def test_other_files_of_poses(tmp_path, text, message):
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        files.read_poses(path)
