"""The chart of the robustness benchmark: how much of the clean score each corruption leaves."""

from pathlib import Path

from engine.pictures.plots import write_figure
from engine.pictures.robustness_chart import ChartGroup, ChartRow, robustness_chart
from engine.robustness.summary import TOTAL, Summary
from engine.robustness.table import GROUP_NAMES


def write_chart(path: Path, summary: Summary) -> None:
    """Draw the chart into a ``.png`` file."""
    means = summary.mean("rr")
    groups = [
        ChartGroup(
            GROUP_NAMES[sensor],
            [ChartRow(row.name, row.ra, row.rr) for row in rows],
            means[sensor],
        )
        for sensor, rows in summary.groups().items()
        if sensor != TOTAL
    ]
    write_figure(path, robustness_chart(groups, clean=summary.clean, mean=means[TOTAL]))
