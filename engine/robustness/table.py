"""The results of the robustness benchmark as a table for a terminal."""

import math
from collections.abc import Sequence

from dataset.corruptions.table import SEVERITIES
from engine.metrics.ratios import mean_of_defined, null_if_nan, percent
from engine.robustness.results import CLEAN, Results, Run
from engine.robustness.summary import TOTAL, CorruptionSummary, Summary

GROUP_NAMES = {"camera": "camera", "lidar": "LiDAR", "both": "both sensors", TOTAL: "all"}


def format_table(results: Results, baseline: Results | None = None) -> str:
    """Format the results: one line per corruption, then the means.

    Args:
        results: Results with a clean score.
        baseline: Those of a baseline; None: no columns relative to it.
    """
    summary = results.summary(baseline)
    width = max(22, *(len(row.name) + 2 for row in summary.corruptions)) if summary.corruptions \
        else 22  # fmt: skip
    relative = ("CE", "RRA") if summary.has_baseline else ()
    columns = (*(f"mIoU {level}" for level in SEVERITIES), "RR", "IoU", "long-tail", *relative)
    head = f"{'':<{width}}" + "".join(f"{name:>10}" for name in columns)
    clean = results.scores[Run(CLEAN, 0)]
    rule = "-" * len(head)
    lines = [head, _line(CLEAN, width, [percent(summary.clean), "", "", "",
        _percent(clean["iou"]), _percent(clean["long_tail_miou"])])]  # fmt: skip
    for sensor, rows in summary.groups().items():
        if sensor == TOTAL:
            continue
        lines += [rule, GROUP_NAMES[sensor]]
        lines += [_row(row, width, results, summary) for row in rows]
    lines += [rule, *_means(summary, width)]
    return "\n".join([*lines, *_caption(results, summary)])


def _row(row: CorruptionSummary, width: int, results: Results, summary: Summary) -> str:
    cells = [percent(row.miou.get(level, math.nan)) for level in SEVERITIES]
    cells.append(_share(row.rr))
    for score in ("iou", "long_tail_miou"):
        values = [results.scores[Run(row.name, level)][score] for level in row.miou]
        cells.append(percent(mean_of_defined(math.nan if v is None else v for v in values)))
    if summary.has_baseline:
        cells += [_share(row.ce), _share(row.rra)]
    return _line(f"  {row.name}", width, cells)


def _means(summary: Summary, width: int) -> list[str]:
    measures = {"mRA": "rr"} | ({"mCE": "ce", "mRRA": "rra"} if summary.has_baseline else {})
    groups = list(summary.groups())
    head = _line("", width, [GROUP_NAMES[group].split()[0] for group in groups])
    return [head] + [
        _line(name, width, [_share(summary.mean(measure)[group]) for group in groups])
        for name, measure in measures.items()
    ]


def _caption(results: Results, summary: Summary) -> list[str]:
    protocol = results.protocol
    frames = results.scores[Run(CLEAN, 0)]["frames"]
    lines = [
        f"mIoU, IoU and long-tail mIoU in percent; IoU and long-tail are means over the "
        f"severities. {frames} frames of '{protocol['split']}'; grid {protocol['grid']}.",
        f"A missing sensor: {results.network['missing_sensor']}.",
    ]
    if not summary.is_complete():
        lines.append("Some severities are missing: the means are over those that are there.")
    return lines


def _line(name: str, width: int, cells: Sequence[str]) -> str:
    return (f"{name:<{width}}" + "".join(f"{cell:>10}" for cell in cells)).rstrip()


def _share(value: float) -> str:
    return "-" if null_if_nan(value) is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return percent(math.nan if value is None else value)
