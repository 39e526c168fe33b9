"""Shared style and output of the matplotlib figures.

Figures are drawn on the Agg canvas: nothing here needs a display or touches pyplot's state.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from engine.pictures.image_files import check_image_path
from engine.pictures.page import FAINT_INK, FRAME, INK, Rgb
from utils.whole_files import new_file

DPI = 150
TITLE_PT, TEXT_PT, SMALL_PT = 12, 9, 8
"""Font sizes [pt]."""


def unit_rgb(color: Rgb) -> tuple[float, float, float]:
    """Convert a color to 0–1, as matplotlib expects it."""
    red, green, blue = (channel / 255 for channel in color)
    return red, green, blue


INK_COLOR, FAINT_COLOR, FRAME_COLOR = unit_rgb(INK), unit_rgb(FAINT_INK), unit_rgb(FRAME)


def new_figure(width_in: float, height_in: float) -> Figure:
    """Create an empty figure with automatic layout."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, compress=True)
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def write_heading(figure: Figure, text: str, note: str = "") -> None:
    """Write the heading of a figure, with a note on the right."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=TITLE_PT, color=INK_COLOR)
    if note:
        figure.text(0.99, 0.975, note, ha="right", va="top", fontsize=TEXT_PT, color=FAINT_COLOR)


def write_title(axes: Axes, text: str) -> None:
    """Write a left-aligned title above a plot."""
    axes.set_title(text, loc="left", fontsize=TEXT_PT, color=INK_COLOR, pad=8)


def strip_axes(axes: Axes) -> None:
    """Remove the frame and the tick marks of a plot; small gray tick labels remain."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL_PT, labelcolor=FAINT_COLOR)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as ``.png`` or ``.jpg``; the file appears complete or not at all.

    Raises:
        ValueError: If the suffix is unknown.
    """
    check_image_path(path)
    with new_file(path, ending=path.suffix) as partial:
        figure.savefig(partial)
