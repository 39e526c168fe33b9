"""Chart of classes: the share of each, a reference share, and the distances it occurs at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from engine.pictures.page import Rgb
from engine.pictures.plots import (
    FAINT_COLOR,
    FRAME_COLOR,
    INK_COLOR,
    SMALL_PT,
    TEXT_PT,
    new_figure,
    strip_axes,
    unit_rgb,
    write_heading,
    write_title,
)

LOWEST_SHARE = 1e-6
"""Left end of the bars' logarithmic scale."""
BAR_HEIGHT = 0.36
"""Height of a bar, in rows."""
_REFERENCE = (0.74, 0.76, 0.80)


@dataclass(frozen=True)
class ClassRow:
    """One class of the chart.

    Attributes:
        name: The class.
        color: Color of its bar.
        share: Its share of all voxels, 0–1.
        reference_share: The same for the reference.
        note: Text of its row in the middle column.
        spread: Distribution over distances; sums to 1, or to 0 for an absent class.
    """

    name: str
    color: Rgb
    share: float
    reference_share: float
    note: str
    spread: tuple[float, ...]


def class_chart(
    heading: str, reference: str, rows: Sequence[ClassRow], *, note: str, distances: Sequence[str]
) -> Figure:
    """Draw a row per class: two bars, a note, and its distribution over distances.

    Args:
        heading: Heading of the chart.
        reference: Name of the reference, drawn as gray bars.
        rows: The classes, from top to bottom.
        note: Title of the column of notes.
        distances: Label of each distance.
    """
    figure = new_figure(11.5, 1.1 + 0.38 * len(rows))
    bars, notes, cells = figure.subplots(1, 3, width_ratios=(6, 1, 4.6))
    write_heading(figure, heading)
    write_title(bars, f"Share of labeled voxels (gray: {reference})")
    write_title(notes, note)
    write_title(cells, "Distance [m]")
    for axes in (bars, notes, cells):
        strip_axes(axes)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_yticks([])
    _draw_bars(bars, rows)
    notes.set_xticks([])
    for place, row in enumerate(rows):
        notes.text(0, place, row.note, fontsize=TEXT_PT, color=INK_COLOR, va="center")
    _draw_distances(cells, rows, distances)
    return figure


def percent(share: float) -> str:
    """Format a share as a percentage, with enough digits to tell rare classes apart."""
    value = 100 * share
    return f"{value:.1f} %" if value >= 10 else f"{value:.2g} %"


def shades(rows: Sequence[ClassRow]) -> Float[np.ndarray, "R D 3"]:
    """Return the cell colors, 0–1: white where a class is absent, its color where it peaks."""
    spread = np.array([row.spread for row in rows], dtype=np.float64)
    peak = spread.max(axis=1, keepdims=True, initial=0.0)
    strength = spread / np.where(peak > 0, peak, 1.0)
    color = np.array([unit_rgb(row.color) for row in rows])
    return 1 + strength[..., None] * (color[:, None] - 1)


def _draw_bars(axes: Axes, rows: Sequence[ClassRow]) -> None:
    """Draw two bars per class on a logarithmic scale, with their shares."""
    axes.set_xscale("log")
    axes.set_xlim(LOWEST_SHARE, 1.0)
    axes.xaxis.set_major_locator(LogLocator(numticks=10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.grid(axis="x", color=FRAME_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    places = np.arange(len(rows))
    names = [row.name.replace("_", " ") for row in rows]
    axes.set_yticks(places, names, fontsize=TEXT_PT, color=INK_COLOR)
    for offset, shares, colors in (
        (-BAR_HEIGHT / 2, [row.share for row in rows], [unit_rgb(row.color) for row in rows]),
        (BAR_HEIGHT / 2, [row.reference_share for row in rows], [_REFERENCE] * len(rows)),
    ):
        axes.barh(places + offset, shares, BAR_HEIGHT, color=colors)
        for place, share in zip(places + offset, shares, strict=True):
            axes.annotate(
                percent(share) if share else "none",
                (max(share, LOWEST_SHARE), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT - 1,
                color=FAINT_COLOR,
                annotation_clip=False,
            )


def _draw_distances(axes: Axes, rows: Sequence[ClassRow], distances: Sequence[str]) -> None:
    """Draw a cell per class and distance."""
    edges = np.arange(len(distances) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    axes.pcolormesh(*edges, shades(rows), edgecolors="white", linewidth=2)
    for place in range(len(rows)):
        axes.axhline(place + 0.5, color=FRAME_COLOR, linewidth=0.6)
    axes.set_xticks(range(len(distances)), distances)
