"""Figures of frames: the four views of one, several methods beside each other, a film."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from engine.pictures.frame_page import ERROR_NOTES, ERRORS, class_entries
from engine.pictures.frame_views import (
    DRIVER_ASPECT,
    VIEWS,
    FrameViews,
    Panel,
    choose_views,
    ground_height_m,
    panel_in_box,
    panel_of_width,
    panels_in_row,
)
from engine.pictures.layers import FigureFrame, Layer
from engine.pictures.page import (
    GAP,
    GUTTER,
    MARGIN,
    STYLES,
    LegendEntry,
    Page,
    Style,
    frame_title,
    legend_height,
    legend_lines,
    table_page,
    write_image,
    write_legend,
)
from engine.pictures.panels import (
    RgbImage,
    draw_input,
    draw_notice,
    draw_voxels,
    mark_scale,
    mark_words,
)
from utils.labels import FREE, IGNORE

VIEW_TITLES = {
    "front": "Camera's view",
    "driver": "From behind and above",
    "bird": "Bird's eye",
    "side": "From the right",
}
BAR_HEIGHT = 5
"""Of a film's progress bar."""


@dataclass(frozen=True)
class FigureOptions:
    """How figures look.

    Attributes:
        views: Views, of ``VIEWS``.
        width: Width of a page, about; in the units of the style's scale.
        style: Colours and scale.
        camera: Number of the camera that the front view is of.
        inputs: Whether what the sensors saw is shown.
        scores: Whether each prediction's scores stand in its picture.
        title: First line of a page; None: scene and stem where a page is of one frame.
        row_names: What stands beside each frame of a comparison; none: the scenes of several.
    """

    views: tuple[str, ...] = VIEWS
    width: int = 1600
    style: Style = STYLES["white"]
    camera: int = 0
    inputs: bool = True
    scores: bool = False
    title: str | None = None
    row_names: tuple[str, ...] = ()

    def panels_px(self, columns: int, *, with_names: bool) -> int:
        """Pixels that the panels of a row share."""
        names = GUTTER if with_names else 0
        return round((self.width - 2 * MARGIN - names - GAP * (columns - 1)) * self.style.scale)


class Table(NamedTuple):
    """Panels in rows and columns, with what is written around them.

    Attributes:
        title: First line; "": none.
        columns: Title of each column.
        rows: Name and panels of each row.
        legend: What the colours mean.
        files: What the file names of each row's panels begin with.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[RgbImage]]]
    legend: list[list[LegendEntry]]
    files: list[str]

    def page(self, style: Style) -> UInt8[np.ndarray, "height width 3"]:
        """All of it as one RGB picture."""
        return table_page(self.title, "", self.columns, self.rows, self.legend, style=style)

    def write_panels(self, folder: Path) -> None:
        """Write each panel as a file of its own, to be arranged elsewhere."""
        for start, (name, panels) in zip(self.files, self.rows, strict=True):
            for column, panel in zip(self.columns, panels, strict=True):
                words = " ".join(part for part in (start, name, column) if part)
                file = re.sub(r"[^\w.-]+", "_", words).strip("_").lower()
                write_image(folder / f"{file}.png", panel)


def views_table(frame: FigureFrame, options: FigureOptions) -> Table:
    """A frame's layers below each other, in the same views.

    Raises:
        ValueError: If a view or the camera is unknown, or the page too narrow.
    """
    views = views_of(frame, options)
    width = options.panels_px(len(options.views), with_names=True)
    panels = panels_in_row(views, options.views, width)
    rows: list[tuple[str, list[RgbImage]]] = []
    if options.inputs and has_inputs(frame):
        rows.append(("Input", [input_panel(frame, panel, views, options) for panel in panels]))
    for layer in frame.layers:
        drawn = [layer_panel(layer, panel, views, options) for panel in panels]
        rows.append((layer.name, drawn))
    title = frame_title(frame.sample) if options.title is None else options.title
    titles = [VIEW_TITLES[name] for name in options.views]
    files = [frame.sample.stem] * len(rows)
    return Table(title, titles, rows, legend_of([frame], options), files)


def comparison_table(frames: Sequence[FigureFrame], options: FigureOptions) -> Table:
    """Frames below each other; beside each other the input, the predictions and the label.

    Each of the views takes a row of a frame.

    Raises:
        ValueError: If a view or the camera is unknown, the page too narrow, or the rows' names are
            not as many as the frames.
    """
    names = list(dict.fromkeys(layer.name for frame in frames for layer in frame.layers))
    labels = {frame.label.name for frame in frames if frame.label}
    names.sort(key=labels.__contains__)  # Labels last, though the first frame may have none.
    shows_inputs = options.inputs and any(map(has_inputs, frames))
    columns = [*(["Input"] if shows_inputs else []), *names]
    row_names = _row_names(frames, options)
    width = options.panels_px(len(columns), with_names=any(row_names)) // len(columns)
    rows: list[tuple[str, list[RgbImage]]] = []
    files: list[str] = []
    for frame, row_name in zip(frames, row_names, strict=True):
        views = views_of(frame, options)
        for view in options.views:
            panel = panel_of_width(views, view, width)
            drawn = [input_panel(frame, panel, views, options)] if shows_inputs else []
            for name in names:
                layer = frame.layer(name)
                drawn.append(
                    draw_notice(panel.view, f"no {name.lower()}", options.style)
                    if layer is None
                    else layer_panel(layer, panel, views, options)
                )
            rows.append((row_name, drawn))
            files.append(f"{frame.sample.stem} {view}")
    return Table(options.title or "", columns, rows, legend_of(frames, options), files)


def film_frame(
    frame: FigureFrame, share: float, size: tuple[int, int], options: FigureOptions
) -> UInt8[np.ndarray, "height width 3"]:
    """One picture of a film: input and layers in equal cells, the legend and how far the film is.

    Args:
        frame: What is shown.
        share: How far the film is, 0–1.
        size: Width and height [px].
        options: How it looks.

    Raises:
        ValueError: If a view or the camera is unknown, or the picture too small.
    """
    style, scale = options.style, options.style.scale
    width, height = size[0] / scale, size[1] / scale
    page = Page(width, height, style)
    lines = [
        line
        for group in legend_of([frame], options, all_classes=True)
        for line in legend_lines(group, round(width - 2 * GAP))
    ]
    foot = legend_height(lines) + BAR_HEIGHT + GAP / 2
    cells: list[tuple[str, Layer | None]] = [
        (view, layer) for layer in frame.layers for view in options.views
    ]
    if options.inputs and has_inputs(frame):
        cells.insert(0, ("front", None))
    columns, cell_width, cell_height = _arrange(len(cells), width, height - foot)
    if min(cell_width, cell_height) < 16:
        raise ValueError(f"{len(cells)} pictures do not fit into {size}: give a larger size")
    views = views_of(frame, options)
    box = (round((cell_width - 2) * scale), round((cell_height - 2) * scale))
    for number, (view, layer) in enumerate(cells):
        panel = panel_in_box(views, view, *box)
        if layer is None:
            picture, words = input_panel(frame, panel, views, options), ["Input"]
        else:
            picture = layer_panel(layer, panel, views, replace(options, scores=False))
            words = [layer.name]
            if len(options.views) > 1:
                words = [f"{layer.name}: {VIEW_TITLES[view]}"]
            if options.scores and layer.note:
                words.append(layer.note)
        picture = mark_words(picture, words, style)
        row, column = divmod(number, columns)
        page.paste(picture, column * cell_width + 1, row * cell_height + 1)
    write_legend(page, lines, GAP, height - foot + GAP / 2)
    page.fill(style.frame, (0, height - BAR_HEIGHT, width, height))
    page.fill(style.ink, (0, height - BAR_HEIGHT, width * share, height))
    return page.picture()


def views_of(frame: FigureFrame, options: FigureOptions) -> FrameViews:
    """Where a frame is looked at from: the same for all of its layers.

    Raises:
        ValueError: If the frame has no such camera.
    """
    layer = frame.label or frame.layers[0]
    ground_m = ground_height_m(layer.voxels, layer.grid)
    return choose_views(frame.sample, layer.grid, ground_m, camera=options.camera)


def layer_panel(layer: Layer, panel: Panel, views: FrameViews, options: FigureOptions) -> RgbImage:
    """Voxels in a panel; a bird's eye view has a scale, the first view the scores."""
    style = options.style
    picture = draw_voxels(layer.voxels, layer.grid, layer.labels, panel, views, style=style)
    if not panel.view.is_perspective:
        picture = mark_scale(picture, panel.view, style)
    if options.scores and layer.note and panel.name == options.views[0]:
        picture = mark_words(picture, [layer.note], style)
    return picture


def input_panel(
    frame: FigureFrame, panel: Panel, views: FrameViews, options: FigureOptions
) -> RgbImage:
    """What the sensors saw, in a panel."""
    return draw_input(frame.sample, panel, views, style=options.style)


def has_inputs(frame: FigureFrame) -> bool:
    """Whether there is anything of the sensors to show."""
    return frame.sample.images is not None or frame.sample.points is not None


def legend_of(
    frames: Iterable[FigureFrame], options: FigureOptions, *, all_classes: bool = False
) -> list[list[LegendEntry]]:
    """The classes that are there, or all; below them the kinds of error where they are shown."""
    layers = [layer for frame in frames for layer in frame.layers]
    classes = [layer for layer in layers if layer.labels is not ERRORS]
    legend: list[LegendEntry] = []
    if classes:
        there = set(range(256)) if all_classes else _labels_in(classes)
        entries = class_entries(classes[0].labels)
        legend = [entry for label, entry in enumerate(entries, 1) if label in there]
    if any(view != "front" for view in options.views):
        legend.append(LegendEntry("ego vehicle", options.style.ink))
    if len(classes) == len(layers):
        return [legend]
    return [legend, class_entries(ERRORS, ERROR_NOTES)]


def _row_names(frames: Sequence[FigureFrame], options: FigureOptions) -> list[str]:
    """What stands beside each frame of a comparison."""
    if not options.row_names:
        return [frame.sample.scene if len(frames) > 1 else "" for frame in frames]
    if len(options.row_names) != len(frames):
        raise ValueError(
            f"--rows needs a name for each of the {len(frames)} frames, got "
            f"{len(options.row_names)}: {list(options.row_names)}"
        )
    return list(options.row_names)


def _labels_in(layers: Iterable[Layer]) -> set[int]:
    found: set[int] = set()
    for layer in layers:
        found |= set(np.unique(layer.voxels).tolist())
    return found - {FREE, IGNORE}


def _arrange(
    count: int, width: float | int, height: float | int
) -> tuple[int, float | int, float | int]:
    """Columns, and width and height of a cell, for which pictures of usual shape are largest."""

    def size(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min(width / columns, height / rows * DRIVER_ASPECT)

    columns = max(range(1, count + 1), key=size)
    return columns, width / columns, height / math.ceil(count / columns)
