"""Rotations as quaternions; w is the real part.

nuScenes and Gaussian splatting write (w, x, y, z), the UnScenes3D layout (x, y, z, w).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


def quaternion_xyzw(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """Unit quaternion (x, y, z, w), w not negative, of a rotation matrix.

    Source: Shepperd's method: divide by the largest of the four components.
    """
    trace = np.trace(rotation)
    squares = np.append(1.0 + 2.0 * np.diag(rotation) - trace, 1.0 + trace)
    largest = int(np.argmax(squares))
    quaternion = np.empty(4)
    if largest == 3:
        x = rotation[2, 1] - rotation[1, 2]
        y = rotation[0, 2] - rotation[2, 0]
        z = rotation[1, 0] - rotation[0, 1]
        quaternion[:] = x, y, z, squares[3]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        quaternion[i] = squares[largest]
        quaternion[j] = rotation[j, i] + rotation[i, j]
        quaternion[k] = rotation[k, i] + rotation[i, k]
        quaternion[3] = rotation[k, j] - rotation[j, k]
    quaternion /= np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0 else -quaternion


def rotation_matrix(quaternion: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(_rows(w, x, y, z))


def rotation_matrices(quaternions: Float[Tensor, "G 4"]) -> Float[Tensor, "G 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z) of any length, differentiably."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    return torch.stack([torch.stack(row, -1) for row in _rows(w, x, y, z)], dim=-2)


def _rows(w: Any, x: Any, y: Any, z: Any) -> list[list[Any]]:
    """Rows of the rotation matrix of a unit quaternion."""
    return [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
