"""Frames of a film: input and layers in equal cells, above the legend and a progress bar."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from engine.pictures.figures import (
    VIEW_TITLES,
    FigureOptions,
    has_inputs,
    input_panel,
    layer_panel,
    legend_of,
    views_of,
)
from engine.pictures.frame_views import DRIVER_ASPECT, panel_in_box
from engine.pictures.layers import FigureFrame, Layer
from engine.pictures.legend import Legend
from engine.pictures.page import Page
from engine.pictures.panels import mark_text
from engine.pictures.table_page import GAP

BAR_HEIGHT = 5
"""Height of the progress bar [px]."""
MIN_CELL = 16
"""Minimum width and height of a cell [px]."""


class Cell(NamedTuple):
    """One panel of a film.

    Attributes:
        view: Its view.
        layer: The layer that it shows; None for the input.
    """

    view: str
    layer: Layer | None


def film_frame(
    frame: FigureFrame, progress: float, size: tuple[int, int], options: FigureOptions
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw one frame of a film.

    Args:
        frame: The frame to draw.
        progress: Share of the film up to this frame, 0–1.
        size: Width and height [px].
        options: Options of the figure.

    Raises:
        ValueError: If a view or the camera is unknown, or the film is too small.
    """
    style = options.style
    width, height = size[0] / style.scale, size[1] / style.scale
    page = Page(width, height, style)
    legend = Legend(legend_of([frame], options, all_classes=True), round(width - 2 * GAP))
    footer = legend.height + BAR_HEIGHT + GAP / 2
    cells = cells_of(frame, options)
    columns, cell_width, cell_height = arrange(len(cells), width, height - footer)
    if min(cell_width, cell_height) < MIN_CELL:
        raise ValueError(f"{len(cells)} panels do not fit into {size}: give a larger size")
    views = views_of(frame, options)
    box = (round((cell_width - 2) * style.scale), round((cell_height - 2) * style.scale))
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        panel = panel_in_box(views, cell.view, *box)
        drawn = (
            input_panel(frame, panel, views, options)
            if cell.layer is None
            else layer_panel(cell.layer, panel, views, replace(options, scores=False))
        )
        drawn = mark_text(drawn, cell_title(cell, frame, options), style)
        page.paste(drawn, column * cell_width + 1, row * cell_height + 1)
    legend.draw(page, GAP, height - footer + GAP / 2)
    page.fill(style.frame, (0, height - BAR_HEIGHT, width, height))
    page.fill(style.ink, (0, height - BAR_HEIGHT, width * progress, height))
    return page.image()


def cells_of(frame: FigureFrame, options: FigureOptions) -> list[Cell]:
    """Return the cells of a frame: the input, if shown, then each layer in each view."""
    cells = [Cell(view, layer) for layer in frame.layers for view in options.views]
    if options.inputs and has_inputs(frame):
        cells.insert(0, Cell("front", None))
    return cells


def cell_title(cell: Cell, frame: FigureFrame, options: FigureOptions) -> list[str]:
    """Return the lines in the corner of a cell: its content, and its scores if requested."""
    if cell.layer is None:
        return ["LiDAR" if frame.sample.images is None else "Camera"]
    title = cell.layer.name
    if len(options.views) > 1:
        title += f": {VIEW_TITLES[cell.view]}"
    return [title, cell.layer.note] if options.scores and cell.layer.note else [title]


def arrange(
    count: int, width: float | int, height: float | int
) -> tuple[int, float | int, float | int]:
    """Return the number of columns, and width and height of a cell, for the largest panels."""

    def panel_height(columns: int) -> float:
        return min(width / columns / DRIVER_ASPECT, height / math.ceil(count / columns))

    columns = max(range(1, count + 1), key=panel_height)
    return columns, width / columns, height / math.ceil(count / columns)
