"""Labels of the points of a cloud, as SemanticKITTI stores them."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64


def read_point_labels(path: Path, points: int) -> Int64[np.ndarray, " P"]:
    """Read the class of each point, as SemanticKITTI stores it.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it has another number of points.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: each cloud needs its point labels, or remove the folder"
        )
    data = path.read_bytes()
    if len(data) != 4 * points:
        raise ValueError(
            f"{path}: expected a uint32 for each of the {points} points of the cloud, found "
            f"{len(data)} bytes: copy it again"
        )
    return (np.frombuffer(data, "<u4") & 0xFFFF).astype(np.int64)
