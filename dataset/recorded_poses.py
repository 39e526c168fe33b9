"""``poses.txt`` of a recording: a line per frame, ``STEM x y z qx qy qz qw``, world_from_lidar."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dataset.file_content import read_text
from utils.quaternions import quaternion_xyzw, rotation_matrix
from utils.whole_files import write_whole

POSES = "poses.txt"
_SAME_LENGTH = 0.01


def write_poses(path: Path, poses: Mapping[str, Float64[np.ndarray, "4 4"]]) -> None:
    """Write the pose of each frame, by stem."""
    lines = [
        " ".join([stem, *(f"{v:.12g}" for v in (*pose[:3, 3], *quaternion_xyzw(pose[:3, :3])))])
        for stem, pose in poses.items()
    ]
    write_whole(path, "\n".join(lines) + "\n")


def read_poses(path: Path) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """Read the pose of each frame, by stem; empty lines and those that begin with # are left out.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a line is not a stem and a pose, a stem occurs twice, or there is none.
    """
    poses: dict[str, Float64[np.ndarray, "4 4"]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        stem, *words = line.split()
        pose = _pose(words)
        if pose is None or stem in poses:
            raise ValueError(
                f"{path}, line {number}: expected 'STEM x y z qx qy qz qw' with a unit quaternion "
                f"and a new stem, found {line!r}: correct the line, or estimate the poses with "
                "tools/estimate_poses.py"
            )
        poses[stem] = pose
    if not poses:
        raise ValueError(f"{path}: expected a line 'STEM x y z qx qy qz qw' per frame, found none")
    return poses


def _pose(words: list[str]) -> Float64[np.ndarray, "4 4"] | None:
    try:
        values = np.array(words, np.float64)
    except ValueError:
        return None
    if values.shape != (7,) or not np.isfinite(values).all():
        return None
    length = np.linalg.norm(values[3:])
    if abs(length - 1) > _SAME_LENGTH:
        return None
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(values[[6, 3, 4, 5]] / length)
    pose[:3, 3] = values[:3]
    return pose
