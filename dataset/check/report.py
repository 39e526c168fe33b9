"""The report of a check, as text and as JSON."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from dataset.check.findings import Finding, Level
from dataset.check.measures import MEASURES
from utils.labels import UNSCENES3D

SHOWN = 3
"""Findings of one check shown in the text; the JSON has all."""
CLASS_NAMES = ("background", *UNSCENES3D.class_names[1:])


@dataclass(frozen=True)
class Report:
    """Outcome of a check.

    Attributes:
        root: Folder of the data set.
        files: Number of files per folder.
        frames: Number of frames with a file.
        labeled: Number of frames that should have labels.
        scenes: Number of scenes.
        splits: Number of frames per split.
        split_source: Source of the splits; "" without splits.
        rules: Number of scenes per meaning of ``Tr_velo_to_imu``.
        image_sizes: Number of frames per image size, "width×height".
        voxels: Number of rows per class in the occupancy labels, background first.
        measures: Values of each measurement, per frame.
        findings: What is wrong.
    """

    root: str
    files: Mapping[str, int]
    frames: int
    labeled: int
    scenes: int
    splits: Mapping[str, int]
    split_source: str
    rules: Mapping[str, int]
    image_sizes: Mapping[str, int]
    voxels: Int64[np.ndarray, " C"]
    measures: Mapping[str, Float64[np.ndarray, " n"]]
    findings: tuple[Finding, ...]

    def of_level(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.findings if finding.level is level]

    @property
    def is_sound(self) -> bool:
        """Whether there are no errors."""
        return not self.of_level(Level.ERROR)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, with lowest, median and highest measurements."""
        content = asdict(self)
        content["voxels"] = dict(zip(CLASS_NAMES, self.voxels.tolist(), strict=True))
        content["measures"] = {
            name: dict(zip(("lowest", "median", "highest"), _spread(values), strict=True))
            for name, values in self.measures.items()
        }
        content["errors"] = len(self.of_level(Level.ERROR))
        content["warnings"] = len(self.of_level(Level.WARNING))
        return content

    def table(self) -> str:
        """Format the report as text, with the findings grouped by check."""
        findings = finding_rows(self.findings)
        parts = [self._head(), self._measure_rows(), self._class_rows(), findings]
        return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))

    def _head(self) -> Iterator[str]:
        yield f"{self.root}: {self.frames} frames, {self.labeled} expected to have labels"
        yield f"  files   {_listed(self.files)}"
        yield f"  images  {_listed(self.image_sizes)}"
        yield f"  scenes  {self.scenes}"
        source = f" (by {self.split_source})" if self.split_source else ""
        yield f"  splits  {_listed(self.splits)}{source}"
        yield f"  Tr_velo_to_imu, scenes  {_listed(self.rules)}"

    def _measure_rows(self) -> Iterator[str]:
        if not self.measures:
            return
        yield f"{'per frame':<54}{'lowest':>10}{'median':>10}{'highest':>10}  expected"
        for name, measure in MEASURES.items():
            if name in self.measures:
                cells = "".join(f"{measure.text(v):>10}" for v in _spread(self.measures[name]))
                yield f"{measure.title:<54}{cells}  {measure.expected}"

    def _class_rows(self) -> Iterator[str]:
        total = int(self.voxels[1:].sum())
        if total == 0:
            return
        yield f"{'class':<20}{'voxels':>14}{'share':>12}"
        for name, count in zip(CLASS_NAMES[1:], self.voxels[1:].tolist(), strict=True):
            yield f"{name:<20}{count:>14,}{100 * count / total:>10.4f} %"
        yield f"{'(background)':<20}{int(self.voxels[0]):>14,}"


def finding_rows(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of a list of findings, grouped by level and check."""
    for level in Level:
        of_level = [finding for finding in findings if finding.level is level]
        groups = defaultdict(list)
        for finding in of_level:
            groups[finding.check].append(finding)
        yield f"{len(of_level)} {level}s" + (":" if of_level else "")
        for check, group in groups.items():
            yield f"  {check} ({len(group)})"
            for finding in group[:SHOWN]:
                frame = f" (frame {finding.stem})" if finding.stem else ""
                yield f"    {finding.path}{frame}: {finding.message}"
            if len(group) > SHOWN:
                yield f"    … and {len(group) - SHOWN} more; --json lists all"


def _spread(values: Float64[np.ndarray, " n"]) -> list[float]:
    return [float(values.min()), float(np.median(values)), float(values.max())]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
