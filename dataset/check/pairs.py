"""Decides which file of a frame is wrong when some of its files disagree.

Each pair of files that describe the same surfaces is compared. The file that disagrees with most
others is to blame; a label that disagrees with one other file is to blame itself.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dataset import layout
from dataset.check.consistency import INCOMPLETE
from dataset.check.findings import FrameReport, Level
from dataset.check.measures import MEASURES

_SPREAD = 5.0
"""A frame is an outlier from this many median absolute deviations on."""


@dataclass(frozen=True)
class Pair:
    """Two files of a frame that describe the same surfaces.

    Attributes:
        label: Folder of the file to blame if only this pair disagrees.
        other: Folder of the other file.
        measures: Names of the measurements that compare them.
    """

    label: str
    other: str
    measures: tuple[str, ...]


PAIRS = (
    Pair(layout.OCCUPANCY, layout.CLOUDS, ("points_near_occupied", "voxels_labeled", "label_gain")),
    Pair(layout.LOCAL_MAPS, layout.CLOUDS, ("points_near_map",)),
    Pair(layout.DEPTHS, layout.CLOUDS, ("depth_agrees", "depth_close", "depth_gain")),
    Pair(
        layout.ELEVATION,
        layout.CLOUDS,
        ("elevation_agrees", "elevation_close", "elevation_offset_m", "elevation_gain"),
    ),
    Pair(layout.OCCUPANCY, layout.LOCAL_MAPS, ("label_near_map",)),
    Pair(layout.ELEVATION, layout.LOCAL_MAPS, ("elevation_near_map",)),
    Pair(layout.OCCUPANCY, layout.OCCUPANCY, ("road_ahead",)),
)


@dataclass(frozen=True)
class Disagreement:
    """A measurement out of range.

    Attributes:
        pair: The files compared.
        name: Name of the measurement.
        level: Severity.
        message: What was found and expected.
    """

    pair: Pair
    name: str
    level: Level
    message: str


def check_pairs(reports: Iterable[FrameReport]) -> None:
    """Add a finding for each file that disagrees with others of its frame."""
    reports = list(reports)
    lowest = lowest_usual(reports)
    for report in reports:
        wrong = [found for pair in PAIRS for found in disagreements(report, pair, lowest)]
        known = report.blamed(Level.ERROR) | report.blamed(check=INCOMPLETE)
        if layout.CALIBS in report.blamed():
            known.add(layout.DEPTHS)  # Its comparison needs the calibration.
        wrong = [found for found in wrong if not known & {found.pair.label, found.pair.other}]
        while wrong:
            folder = file_to_blame({found.pair for found in wrong})
            mine = [found for found in wrong if folder in (found.pair.label, found.pair.other)]
            _add_finding(report, folder, mine)
            wrong = [found for found in wrong if found not in mine]


def lowest_usual(reports: Iterable[FrameReport]) -> dict[str, float]:
    """Return the lowest usual value of each measurement that has a margin.

    It is the median minus the margin, or minus five median absolute deviations if that is lower.
    """
    lowest = {}
    for name, measure in MEASURES.items():
        values = [report.measures[name] for report in reports if name in report.measures]
        if values and measure.margin < math.inf:
            median = float(np.median(values))
            spread = float(np.median(np.abs(np.array(values) - median)))
            lowest[name] = median - max(measure.margin, _SPREAD * spread)
    return lowest


def disagreements(
    report: FrameReport, pair: Pair, lowest: Mapping[str, float]
) -> list[Disagreement]:
    """Return the measurements of a pair that are out of range, errors first."""
    found = []
    for name in pair.measures:
        if name not in report.measures:
            continue
        measure, value = MEASURES[name], report.measures[name]
        usual = (lowest.get(name, -math.inf), math.inf)
        for level, limits, whose in (
            (Level.ERROR, measure.error, ""),
            (Level.WARNING, measure.warning, ""),
            (Level.WARNING, usual, " as in most frames"),
        ):
            if not limits[0] <= value <= limits[1]:
                text = f"{measure.title} {measure.text(value)}, expected {measure.range(limits)}"
                found.append(Disagreement(pair, name, level, text + whose))
                break
    return sorted(found, key=lambda one: one.level is not Level.ERROR)


def file_to_blame(pairs: Collection[Pair]) -> str:
    """Return the folder in most of the pairs; with one pair each, that of a label."""
    counts = Counter(folder for pair in pairs for folder in {pair.label, pair.other})
    most = max(counts.values())
    labels = [pair.label for pair in PAIRS if pair in pairs and counts[pair.label] == most]
    if labels:
        return labels[0]
    return max(counts, key=counts.__getitem__)


def _add_finding(report: FrameReport, folder: str, found: list[Disagreement]) -> None:
    """Add one finding about a file, with all that disagrees with it."""
    worst = min(found, key=lambda one: one.level is not Level.ERROR)
    message = "; ".join(one.message for one in found)
    others = {one.pair.other if one.pair.label == folder else one.pair.label for one in found}
    name, advice = worst.name, MEASURES[worst.name].advice
    if folder not in {one.pair.label for one in found}:
        name = "disagrees"
        advice = f"It disagrees with {', '.join(sorted(others))}: is it the file of this frame?"
    report.add(worst.level, name, folder, f"{message}. {advice}")
