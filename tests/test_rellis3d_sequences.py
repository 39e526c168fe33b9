import numpy as np
import pytest

from dataset.rellis3d.layout import NETWORK_FROM_OUSTER
from dataset.rellis3d.sequences import Sequence, all_frames, find_sequences

FRAMES = 8


@pytest.fixture
def folder(tmp_path):
    """A sequence of names alone, with poses that move by 0.5 m."""
    root = tmp_path / "00000"
    for name in ("os1_cloud_node_kitti_bin", "pylon_camera_node"):
        (root / name).mkdir(parents=True)
    for number in range(FRAMES):
        (root / f"os1_cloud_node_kitti_bin/{number:06d}.bin").touch()
        image = f"frame{number:06d}-1581624663_{100 * number + 49:03d}.jpg"
        (root / "pylon_camera_node" / image).touch()
    write_poses(root, {})
    return root


def write_poses(root, changes):
    rows = np.tile(NETWORK_FROM_OUSTER[:3], (FRAMES, 1, 1))
    rows[:, 0, 3] = 0.5 * np.arange(FRAMES)
    for number, row in changes.items():
        rows[number] = row
    np.savetxt(root / "poses.txt", rows.reshape(FRAMES, 12))


def test_files_of_a_sequence(folder):
    (folder / "pylon_camera_node/readme.jpg").touch()
    (folder / "os1_cloud_node_kitti_bin/000003.bin.part").touch()
    sequence = Sequence(folder)
    assert sequence.clouds == set(sequence.images) == set(range(FRAMES))
    assert sequence.point_labels == frozenset()
    assert sequence.time_s(3) == pytest.approx(1581624663.349)
    assert sequence.image_path(3).name == "frame000003-1581624663_349.jpg"
    assert str(sequence.image_path(99)).endswith("frame000099-*.jpg")
    assert len(all_frames([sequence])) == FRAMES


def test_two_images_of_a_frame_are_refused(folder):
    (folder / "pylon_camera_node/frame000003-1581624663_999.png").touch()
    with pytest.raises(ValueError, match="has two images of frame 3"):
        _ = Sequence(folder).images


def test_sweeps_are_the_frames_before(folder):
    sequence = Sequence(folder)
    assert sequence.sweeps(5, 4) == [5, 4, 3, 2]
    assert sequence.sweeps(1, 4) == [1, 0]
    np.testing.assert_allclose(sequence.world_from_lidar(4)[:3, 3], [2.0, 0, 0])


def test_sweeps_end_at_a_missing_cloud(folder):
    (folder / "os1_cloud_node_kitti_bin/000003.bin").unlink()
    assert Sequence(folder).sweeps(5, 4) == [5, 4]


def test_sweeps_end_where_poses_are_unknown_or_jump(folder, caplog):
    far = NETWORK_FROM_OUSTER[:3].copy()
    far[0, 3] = 50.0
    write_poses(folder, {0: np.full((3, 4), 1e30), 4: far})
    sequence = Sequence(folder)
    assert [sequence.sweeps(n, 3) for n in (0, 2, 4, 6)] == [[0], [2, 1], [4], [6, 5]]
    assert not sequence.has_pose(0)
    assert "1 of 8 rows are no pose, such as row 0" in caplog.text
    assert "2 poses are more than 2 m from the one before, such as that of frame 4" in caplog.text
    with pytest.raises(ValueError, match=r"expected a pose in row 0, found none of 8 rows"):
        sequence.world_from_lidar(0)


def test_without_images_times_are_those_of_the_rate(folder):
    for path in (folder / "pylon_camera_node").iterdir():
        path.unlink()
    sequence = Sequence(folder)
    assert sequence.time_s(3) == pytest.approx(0.3)
    assert not sequence.has_times([3])


def test_the_folder_of_the_data_set_is_named(folder, tmp_path):
    assert list(find_sequences(tmp_path)) == ["00000"]
    with pytest.raises(FileNotFoundError, match="there is no data set at"):
        find_sequences(tmp_path / "none")
    unpacked = tmp_path / "archive/Rellis-3D"
    (unpacked / "00000").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"set data_root to '{unpacked}'"):
        find_sequences(unpacked.parent)
    with pytest.raises(FileNotFoundError, match="none of the folders 00000, 00001"):
        find_sequences(folder)
