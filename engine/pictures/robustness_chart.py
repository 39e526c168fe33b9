"""Chart of corruptions: the share of the clean score that each severity leaves."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from engine.pictures.plots import (
    FAINT_COLOR,
    FRAME_COLOR,
    INK_COLOR,
    SMALL_PT,
    TEXT_PT,
    new_figure,
    strip_axes,
    write_heading,
    write_title,
)

BAR_HEIGHT = 0.27
"""Height of a bar, in rows."""
COLORS = {
    1: (0.62, 0.79, 0.88),
    2: (0.26, 0.57, 0.78),
    3: (0.03, 0.29, 0.55),
}
"""Color of each severity."""


class ChartRow(NamedTuple):
    """One corruption.

    Attributes:
        name: Its name.
        shares: Share of the clean score, by severity.
        mean: Their mean.
    """

    name: str
    shares: Mapping[int, float]
    mean: float


class ChartGroup(NamedTuple):
    """The corruptions of one sensor.

    Attributes:
        name: The sensor.
        rows: Its corruptions.
        mean: Mean over them.
    """

    name: str
    rows: Sequence[ChartRow]
    mean: float


def robustness_chart(groups: Sequence[ChartGroup], *, clean: float, mean: float) -> Figure:
    """Draw a panel per sensor, with a row per corruption and a bar per severity.

    Args:
        groups: The corruptions by sensor.
        clean: mIoU without corruption, 0–1.
        mean: Mean share over all corruptions.
    """
    sizes = [len(group.rows) + 1.2 for group in groups] or [1]
    figure = new_figure(8.5, 1.3 + 0.34 * sum(sizes))
    write_heading(figure, f"mIoU under corruption: mRA {_share(mean)}, clean {100 * clean:.2f} %")
    panels = figure.subplots(len(sizes), 1, squeeze=False, height_ratios=sizes, sharex=True)[:, 0]
    highest = max(
        (share for group in groups for row in group.rows for share in row.shares.values()),
        default=1.0,
    )
    for axes, group in zip(panels, groups, strict=False):
        _draw_group(axes, group, max(1.0, highest))
    panels[-1].set_xlabel("share of the clean mIoU (RA)", fontsize=SMALL_PT, color=FAINT_COLOR)
    patches = [Patch(color=color, label=f"severity {level}") for level, color in COLORS.items()]
    figure.legend(
        handles=patches, loc="outside lower right", ncols=3, frameon=False, fontsize=SMALL_PT,
        labelcolor=INK_COLOR,
    )  # fmt: skip
    return figure


def _draw_group(axes: Axes, group: ChartGroup, highest: float) -> None:
    strip_axes(axes)
    write_title(axes, f"{group.name}: mRA {_share(group.mean)}")
    axes.set_title("RR", loc="right", fontsize=SMALL_PT, color=FAINT_COLOR)
    names = [row.name.replace("_", " ").replace("lidar", "LiDAR") for row in group.rows]
    axes.set_yticks(range(len(names)), names, fontsize=TEXT_PT, color=INK_COLOR)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * highest)
    axes.axvline(1.0, color=INK_COLOR, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.grid(axis="x", color=FRAME_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    for place, row in enumerate(group.rows):
        for level, share in row.shares.items():
            offset = (level - 2) * BAR_HEIGHT
            axes.barh(place + offset, share, BAR_HEIGHT, color=COLORS[level])
        axes.text(
            1.115 * highest, place, _share(row.mean), ha="right", va="center", fontsize=TEXT_PT,
            color=INK_COLOR,
        )  # fmt: skip


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
