import numpy as np
import pytest
import torch

from utils.quaternions import quaternion_xyzw, rotation_matrices, rotation_matrix

SOME = [
    (0, 0, 0, 1),
    (1, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 0, 1, 0),
    (0.5, -0.5, 0.5, 0.5),
    (0.8, 0.1, -0.2, 0.05),
    (-0.1, 0.9, 0.3, 0.02),
    (0.1, -0.2, 0.95, 0.1),
    (0.1, 0.2, 0.3, 0.9),
]
"""Every component is the largest once: x, y, z, w."""


def unit(xyzw):
    return np.array(xyzw, dtype=float) / np.linalg.norm(xyzw)


@pytest.mark.parametrize("xyzw", SOME)
def test_a_matrix_turns_vectors_as_the_quaternion_product_does(xyzw):
    x, y, z, w = unit(xyzw)
    vector, axis = np.array([0.5, -1.0, 2.0]), np.array([x, y, z])
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    np.testing.assert_allclose(rotation_matrix(np.array([w, x, y, z])) @ vector, turned, atol=1e-12)


@pytest.mark.parametrize("xyzw", SOME)
def test_a_matrix_gives_its_quaternion_back(xyzw):
    wanted = unit(xyzw)
    found = quaternion_xyzw(rotation_matrix(np.roll(wanted, 1)))
    assert abs(found @ wanted) == pytest.approx(1.0, abs=1e-12)  # The sign is free.
    assert found[3] >= 0


def test_many_matrices_are_those_of_each_whatever_the_length():
    wxyz = np.array([np.roll(unit(xyzw), 1) for xyzw in SOME])
    found = rotation_matrices(3.0 * torch.from_numpy(wxyz))
    np.testing.assert_allclose(found, [rotation_matrix(row) for row in wxyz], atol=1e-14)


def test_matrices_have_gradients():
    quaternions = torch.tensor(SOME[4:6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_matrices, quaternions)
