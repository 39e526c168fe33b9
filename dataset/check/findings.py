"""Results of a check: findings about files, and measurements of frames."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float32, Float64, Int64

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
        pixel_from_lidar: P2 · R0_rect · Tr_velo_to_cam.
        velocity_mps: Velocity from ``vehicle_infos``, in the body frame.
        thumbnail: The image at 24×15 pixels, RGB 0–1.
        view_fits: How well the points fit the image as it is and after each of
            ``images.FLIPS``.
        checksums: Checksum of the content of each folder's file.
        caption: Caption of the frame.
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
    pixel_from_lidar: Float64[np.ndarray, "4 4"] | None = None
    velocity_mps: tuple[float, float, float] | None = None
    thumbnail: Float32[np.ndarray, "15 24 3"] | None = None
    view_fits: Float64[np.ndarray, " looks"] | None = None
    checksums: dict[str, int] = field(default_factory=dict)
    caption: str | None = None

    def error(self, check: str, folder: str, message: str) -> None:
        """Add an error: a file of the frame is unusable or wrong."""
        self.add(Level.ERROR, check, folder, message)

    def warn(self, check: str, folder: str, message: str) -> None:
        """Add a warning: a file of the frame is suspicious."""
        self.add(Level.WARNING, check, folder, message)

    def measure(self, name: str, value: float) -> None:
        """Store a measurement, and add an error or a warning if it is out of range."""
        measure = MEASURES[name]
        self.measures[name] = value
        for level, limits in ((Level.ERROR, measure.error), (Level.WARNING, measure.warning)):
            if not limits[0] <= value <= limits[1]:
                found = f"{measure.title} {measure.text(value)}, expected {measure.range(limits)}"
                self.add(level, name, measure.folder, f"{found}. {measure.advice}")
                return

    def compare(self, name: str, value: float | None) -> None:
        """Store a measurement of two files, which ``pairs.py`` judges; None: not measured."""
        if value is not None:
            self.measures[name] = value

    def blamed(self, level: Level | None = None, check: str | None = None) -> set[str]:
        """Return the folders whose file has a finding, of any level and check or of the given."""
        return {
            finding.path.partition("/")[0]
            for finding in self.findings
            if level in (None, finding.level) and check in (None, finding.check)
        }

    def add(self, level: Level, check: str, folder: str, message: str) -> None:
        """Add a finding about a file of the frame."""
        path = layout.relative_path(folder, self.stem)
        self.findings.append(Finding(level, check, path, self.stem, message))
