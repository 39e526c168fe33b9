import numpy as np
import pytest

from dataset.calibration import check_camera_matrix, check_rigid
from tests.layout_files import Rig

CAMERA = np.array([[800.0, 0.2, 480.0], [0.0, 810.0, 300.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("matrix", "hint"),
    [
        (0 * CAMERA, "all zero"),
        (CAMERA.T, "transposed"),
        (-CAMERA, "found"),
        (2 * CAMERA, "found"),
        (CAMERA[[1, 0, 2]], "found"),
        (np.diag([1.0, 0.01, 1.0]) @ CAMERA, "found"),
        (CAMERA @ [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], "found"),
    ],
)
def test_other_camera_matrices_are_rejected(matrix, hint):
    check_camera_matrix("a.txt", "P2", CAMERA)
    with pytest.raises(ValueError, match=rf"^a\.txt: expected rows f 0 u.* in 'P2'.*{hint}"):
        check_camera_matrix("a.txt", "P2", matrix)


def test_a_transform_with_rounded_numbers_is_rigid():
    check_rigid("a.txt", "T", np.round(Rig((60, 96)).cam_from_lidar, 3))


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (np.zeros((4, 4)), "differs from the identity by 1"),
        (np.diag([1.01, 1, 1, 1]), r"differs from the identity by 0\.02"),
        (np.diag([1e300, 1, 1, 1]), "differs from the identity by inf"),
        (np.full((4, 4), 1e300), "differs from the identity"),
        (np.diag([1.0, 1, -1, 1]), r"mirrors \(determinant -1\)"),
        (np.diag([1.0, 1, 1, 2]), r"the last row \[0\.0, 0\.0, 0\.0, 2\.0\]"),
    ],
)
def test_other_transforms_are_rejected(matrix, found):
    with pytest.raises(
        ValueError, match=rf"^a\.txt: expected a rotation .* in 'T', found .*{found}"
    ):
        check_rigid("a.txt", "T", matrix)
