"""The check of the files of one frame of RELLIS-3D."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataset import formats
from dataset.check.findings import Finding, Level
from dataset.image_decoding import decode_image
from dataset.rellis3d import classes, files, labels, layout
from dataset.rellis3d.layout import Frame
from utils.labels import RELLIS3D

NAMES = ("void", *RELLIS3D.class_names[1:])
"""Classes of labeled points."""
_NEAREST_M = 0.5


class FrameTask(NamedTuple):
    """Files of a frame, None where there is none."""

    frame: Frame
    cloud: Path | None
    point_labels: Path | None
    image: Path | None
    image_labels: Path | None
    occupancy: Path | None
    pixel_from_lidar: Float64[np.ndarray, "4 4"] | None


@dataclass
class FrameCheck:
    """What was found in the files of a frame.

    Attributes:
        frame: The frame.
        findings: What is wrong.
        points: Labeled points by class, void first.
        voxels: Rows of the occupancy label by class id.
        on_class: Labeled points on a labeled pixel of their class, and on any labeled pixel.
        image_size: Height and width of the image.
    """

    frame: Frame
    findings: list[Finding] = field(default_factory=list)
    points: Int64[np.ndarray, " C"] = field(default_factory=lambda: np.zeros(len(NAMES), np.int64))
    voxels: Mapping[int, int] = field(default_factory=dict)
    on_class: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] | None = None

    def fail(self, path: Path | None, error: ValueError) -> None:
        """Add what is wrong with a file."""
        self.findings.append(Finding(Level.ERROR, "format", str(path), self.frame.stem, str(error)))


def check_frame(task: FrameTask) -> FrameCheck:
    """Check the files of one frame."""
    check = FrameCheck(task.frame)
    cloud = ids = None
    matrix = task.pixel_from_lidar
    try:
        if task.cloud is not None:
            cloud = files.read_cloud(task.cloud, layout.INTENSITY_MAX)
            if task.point_labels is not None:
                ids = files.read_point_labels(task.point_labels, cloud)
                check.points = _count_classes(ids)
    except ValueError as error:
        check.fail(task.cloud, error)
    try:
        if task.image is not None:
            check.image_size = formats.open_image(task.image).size
        if ids is not None and cloud is not None and task.image_labels and matrix is not None:
            check.on_class = _on_class(task.image_labels, matrix, cloud.points, ids)
    except ValueError as error:
        check.fail(task.image, error)
    try:
        if task.occupancy is not None:
            values, counts = np.unique(labels.read_rows(task.occupancy)[:, 3], return_counts=True)
            check.voxels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    except ValueError as error:
        check.fail(task.occupancy, error)
    return check


def _count_classes(ids: Int64[np.ndarray, " P"]) -> Int64[np.ndarray, " C"]:
    counts = np.zeros(len(NAMES), np.int64)
    values, number = np.unique(ids, return_counts=True)
    unknown = sorted(set(values.tolist()) - classes.RELLIS_IDS.keys())
    if unknown:
        raise ValueError(f"expected the ids of RELLIS-3D in point labels, found {unknown}")
    for value, count in zip(values.tolist(), number.tolist(), strict=True):
        name = classes.RELLIS_IDS[value]
        counts[NAMES.index(name) if name in NAMES else 0] += count
    return counts


def _on_class(
    path: Path,
    matrix: Float64[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P 4"],
    ids: Int64[np.ndarray, " P"],
) -> tuple[int, int]:
    """Count labeled points on a labeled pixel of their class, and on any labeled pixel."""
    image = decode_image(str(path), path.read_bytes())
    if image.ndim != 2:
        raise ValueError(f"{path}: expected one channel of class ids, found {image.shape}")
    u, v, depth = matrix[:3, :3] @ points[:, :3].T.astype(np.float64) + matrix[:3, 3:]
    ahead = (depth > _NEAREST_M) & (ids != classes.VOID)
    column, row = (np.floor(of[ahead] / depth[ahead]).astype(np.int64) for of in (u, v))
    height, width = image.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = image[row[inside], column[inside]]
    is_labeled = seen != classes.VOID
    hits = seen[is_labeled] == ids[ahead][inside][is_labeled]
    return int(hits.sum()), int(is_labeled.sum())
