"""Finds a recorded frame of KITTI's object data set, where there is one."""

import os
from pathlib import Path

VARIABLE = "UNSOCC_REAL_DATA"
"""Environment variable with a folder of recorded data; ``kitti_object/`` in it is used here."""
DEFAULT = Path(__file__).parents[2] / "shared/data/real"


def find_kitti() -> Path | None:
    """Folder ``kitti_object/training`` of the recorded data, or None where there is none."""
    folder = Path(os.environ.get(VARIABLE, DEFAULT)) / "kitti_object/training"
    return folder if folder.is_dir() else None
