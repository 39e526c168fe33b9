"""Results of a check: findings about files, and measurements of frames."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float64, Int64

from dataset import layout
from dataset.check.measures import MEASURES
from utils.labels import UNSCENES3D


class Level(StrEnum):
    """Severity of a finding."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something wrong with one file.

    Attributes:
        level: Errors fail the check; warnings do not.
        check: Short name of the check.
        path: File or folder, relative to the data set.
        stem: Stem of its frame; "" for none.
        message: What is wrong and what to do.
    """

    level: Level
    check: str
    path: str
    stem: str
    message: str


@dataclass
class FrameReport:
    """Findings and measurements of one frame, filled by the checks.

    Attributes:
        stem: Stem of the frame.
        findings: What is wrong.
        measures: Measurements by name (``dataset/check/measures.py``).
        voxels: Number of rows per class in the occupancy label, background first.
        image_size: Height and width of the image.
        world_from_imu: Pose from ``vehicle_infos``.
        imu_or_world_from_lidar: ``Tr_velo_to_imu``.
    """

    stem: str
    findings: list[Finding] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    voxels: Int64[np.ndarray, " C"] = field(
        default_factory=lambda: np.zeros(UNSCENES3D.num_classes, np.int64)
    )
    image_size: tuple[int, int] | None = None
    world_from_imu: Float64[np.ndarray, "4 4"] | None = None
    imu_or_world_from_lidar: Float64[np.ndarray, "4 4"] | None = None

    def error(self, check: str, folder: str, message: str) -> None:
        """Add an error: a file of the frame is unusable or wrong."""
        self._add(Level.ERROR, check, folder, message)

    def warn(self, check: str, folder: str, message: str) -> None:
        """Add a warning: a file of the frame is suspicious."""
        self._add(Level.WARNING, check, folder, message)

    def measure(self, name: str, value: float) -> None:
        """Store a measurement, and add an error or a warning if it is out of range."""
        measure = MEASURES[name]
        self.measures[name] = value
        for level, limits in ((Level.ERROR, measure.error), (Level.WARNING, measure.warning)):
            if not limits[0] <= value <= limits[1]:
                found = f"{measure.title} {measure.text(value)}, expected {measure.range(limits)}"
                self._add(level, name, measure.folder, f"{found}. {measure.advice}")
                return

    def _add(self, level: Level, check: str, folder: str, message: str) -> None:
        path = layout.relative_path(folder, self.stem)
        self.findings.append(Finding(level, check, path, self.stem, message))
