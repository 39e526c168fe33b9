"""poses.txt: written and read again."""

import numpy as np
import pytest

from dataset.recorded_poses import read_poses, write_poses
from tests.drive_files import turn


def test_poses_are_read_as_written(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = turn(130)
    pose[:3, 3] = 512345.125, 4412345.5, -3
    write_poses(tmp_path / "poses.txt", {"10.5": pose, "10.60": np.eye(4)})
    found = read_poses(tmp_path / "poses.txt")
    assert list(found) == ["10.5", "10.60"]
    np.testing.assert_allclose(found["10.5"], pose, atol=1e-6)  # Twelve digits.
    np.testing.assert_array_equal(found["10.60"], np.eye(4))


def test_a_line_is_stem_position_and_quaternion(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = turn(90)
    write_poses(tmp_path / "poses.txt", {"7": pose})
    stem, *words = (tmp_path / "poses.txt").read_text().split()
    assert stem == "7"
    np.testing.assert_allclose([float(word) for word in words], [0, 0, 0, 0, 0, 0.5**0.5, 0.5**0.5])


@pytest.mark.parametrize(
    "line",
    [
        "2 0 0 0 0 0 0",
        "2 0 0 0 0 0 0 2",
        "2 0 0 nan 0 0 0 1",
        "2 0 0 0 0 0 zero 1",
        "1 0 0 0 0 0 0 1",
        "2",
    ],
)
def test_other_lines_are_refused(tmp_path, line):
    path = tmp_path / "poses.txt"
    path.write_text(f"1 0 0 0 0 0 0 1\n{line}\n3 0 0 0 0 0 0 1\n")
    with pytest.raises(ValueError, match=r"poses\.txt, line 2: expected 'STEM x y z qx qy qz qw'"):
        read_poses(path)


def test_empty_lines_and_comments_are_left_out(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_bytes(b"\xef\xbb\xbf# stem x y z\r\n1 0 0 0 0 0 0 1\r\n \r\n3 0 0 0 0 0 0 1\r\n\r\n")
    assert list(read_poses(path)) == ["1", "3"]
    path.write_text("# stem x y z\n\n")
    with pytest.raises(ValueError, match=r"poses\.txt: expected a line .* per frame, found none"):
        read_poses(path)
