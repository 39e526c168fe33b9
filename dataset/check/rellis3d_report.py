"""The report of the check of RELLIS-3D."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataset.check.findings import Finding, Level
from dataset.check.report import finding_rows
from dataset.rellis3d import classes

Counts = Mapping[str, int | float]


@dataclass(frozen=True)
class RellisReport:
    """Outcome of a check.

    Attributes:
        root: Folder of the data set.
        sequences: Number of files of each kind, and poses, by sequence.
        points: Labeled points by class, void first.
        voxels: Rows of the occupancy labels by class id.
        image_sizes: Number of frames per image size, "width×height".
        splits: Number of frames per list.
        release: Release that the occupancy labels fit, and how they are read; "" without labels.
        shares: Agreement of each reading with the points.
        findings: What is wrong.
    """

    root: str
    sequences: Mapping[str, Counts]
    points: Mapping[str, int]
    voxels: Mapping[int, int]
    image_sizes: Mapping[str, int]
    splits: Mapping[str, int]
    release: str
    shares: Mapping[str, float]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are no errors."""
        return all(finding.level is not Level.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        levels = Counter(finding.level for finding in self.findings)
        counts = {"errors": levels[Level.ERROR], "warnings": levels[Level.WARNING]}
        return asdict(self) | counts

    def table(self) -> str:
        """Format the report as text."""
        parts = [self._head(), self._class_rows(), finding_rows(self.findings)]
        return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))

    def _head(self) -> Iterator[str]:
        yield f"{self.root}: RELLIS-3D, {len(self.sequences)} sequences"
        columns = list(next(iter(self.sequences.values())))
        yield f"{'':<8}" + "".join(f"{name:>16}" for name in columns)
        for name, counts in self.sequences.items():
            yield f"{name:<8}" + "".join(f"{_cell(counts[column]):>16}" for column in columns)
        for title, counts in (("images", self.image_sizes), ("lists", self.splits)):
            yield f"{title}: " + (", ".join(f"{k} {v:,}" for k, v in counts.items()) or "none")
        yield f"occupancy labels: {self.release or 'none'}"

    def _class_rows(self) -> Iterator[str]:
        points, voxels = sum(self.points.values()), sum(self.voxels.values())
        of_class: Counter[str] = Counter()
        for number, count in self.voxels.items():
            of_class[classes.RELLIS_IDS.get(number, f"id {number}")] += count
        if not points and not voxels:
            return
        names = ("points", "share", "published", "voxels", "share")
        widths = (14, 10, 11, 14, 10)
        cells = (f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
        yield f"{'class':<12}" + "".join(cells)
        for name in dict.fromkeys([*self.points, *of_class]):
            count, filled = self.points.get(name, 0), of_class[name]
            if count or filled:
                published = classes.POINT_SHARES.get(name)
                text = "–" if published is None else f"{100 * published:.3f} %"
                yield (
                    f"{name:<12}{count:>14,}{100 * count / max(1, points):>8.3f} %{text:>11}"
                    f"{filled:>14,}{100 * filled / max(1, voxels):>8.3f} %"
                )


def _cell(value: int | float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"
