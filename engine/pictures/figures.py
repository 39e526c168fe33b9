"""Figures of frames: the views of one frame, or several methods side by side."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from engine.pictures.frame_errors import ERROR_NOTES, ERRORS
from engine.pictures.frame_views import (
    VIEWS,
    FrameViews,
    Panel,
    choose_views,
    ground_height_m,
    panel_of_width,
    panels_in_row,
)
from engine.pictures.image_files import write_image
from engine.pictures.layers import FigureFrame, Layer
from engine.pictures.legend import LegendEntry, class_entries
from engine.pictures.page import MARGIN, STYLES, Style, frame_title
from engine.pictures.panels import (
    RgbImage,
    draw_input,
    draw_notice,
    draw_voxels,
    mark_scale,
    mark_text,
)
from engine.pictures.table_page import GAP, GUTTER, table_page
from utils.labels import FREE, IGNORE

VIEW_TITLES = {
    "front": "Camera view",
    "driver": "From behind and above",
    "bird": "Bird's eye",
    "side": "From the right",
}


@dataclass(frozen=True)
class FigureOptions:
    """Options of figures.

    Attributes:
        views: Names of the views, from ``VIEWS``.
        width: Approximate width of a page, before scaling.
        style: Colors and scale.
        camera: Index of the camera of the front view.
        inputs: Whether to show images and points.
        scores: Whether to write the scores of each prediction into its first panel.
        title: Title of a page; None: scene and stem, if the page has one frame.
        row_names: Name of each frame of a comparison; empty: the scene, if there are several
            frames.
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
        """Return the total width of the panels of a row [px]."""
        names = GUTTER if with_names else 0
        return round((self.width - 2 * MARGIN - names - GAP * (columns - 1)) * self.style.scale)


class Table(NamedTuple):
    """A table of panels, with titles and legend.

    Attributes:
        title: Title; "": none.
        columns: Title of each column.
        rows: Name and panels of each row.
        legend: Groups of legend entries.
        files: Prefix of the file names of the panels, per row.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[RgbImage]]]
    legend: list[list[LegendEntry]]
    files: list[str]

    def page(self, style: Style) -> UInt8[np.ndarray, "height width 3"]:
        """Draw the table as one RGB image."""
        return table_page(self.title, "", self.columns, self.rows, self.legend, style=style)

    def write_panels(self, folder: Path) -> None:
        """Write each panel to its own file."""
        for start, (name, panels) in zip(self.files, self.rows, strict=True):
            for column, panel in zip(self.columns, panels, strict=True):
                text = " ".join(part for part in (start, name, column) if part)
                file = re.sub(r"[^\w.-]+", "_", text).strip("_").lower()
                write_image(folder / f"{file}.png", panel)


def views_table(frame: FigureFrame, options: FigureOptions) -> Table:
    """Lay out input and layers of a frame, one per row, with a view per column.

    Raises:
        ValueError: If a view or the camera is unknown, or the page is too narrow.
    """
    views = views_of(frame, options)
    width = options.panels_px(len(options.views), with_names=True)
    panels = panels_in_row(views, options.views, width)
    rows: list[tuple[str, list[RgbImage]]] = []
    if options.inputs and has_inputs(frame):
        rows.append(("Input", [input_panel(frame, panel, views, options) for panel in panels]))
    for layer in frame.layers:
        rows.append((layer.name, layer_panels(layer, panels, views, options)))
    title = frame_title(frame.sample) if options.title is None else options.title
    titles = [VIEW_TITLES[name] for name in options.views]
    files = [frame.sample.stem] * len(rows)
    return Table(title, titles, rows, legend_of([frame], options), files)


def comparison_table(frames: Sequence[FigureFrame], options: FigureOptions) -> Table:
    """Lay out frames from top to bottom, with input, predictions and label side by side.

    A frame has one row per view.

    Raises:
        ValueError: If a view or the camera is unknown, the page is too narrow, or the number
            of row names is not the number of frames.
    """
    layers = [layer for frame in frames for layer in frame.layers]
    names = list(dict.fromkeys(layer.name for layer in layers))
    of_label = {layer.name for layer in layers if layer.is_label or layer.labels is ERRORS}
    labels = {frame.label.name for frame in frames if frame.label}
    names.sort(key=labels.__contains__)  # Labels last, though the first frame may have none.
    missing = {name: "no label" if name in of_label else f"no {name.lower()}" for name in names}
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
                    draw_notice(panel.view, missing[name], options.style)
                    if layer is None
                    else layer_panel(layer, panel, views, options)
                )
            rows.append((row_name, drawn))
            files.append(f"{frame.sample.stem} {view}")
    return Table(options.title or "", columns, rows, legend_of(frames, options), files)


def views_of(frame: FigureFrame, options: FigureOptions) -> FrameViews:
    """Return the views of a frame, shared by all of its layers.

    Raises:
        ValueError: If the frame has no such camera.
    """
    layer = frame.label or frame.layers[0]
    ground_m = ground_height_m(layer.voxels, layer.grid)
    return choose_views(frame.sample, layer.grid, ground_m, camera=options.camera)


def layer_panel(layer: Layer, panel: Panel, views: FrameViews, options: FigureOptions) -> RgbImage:
    """Draw voxels in a panel; with a scale bar if bird's-eye, and scores in the first view."""
    style = options.style
    image = draw_voxels(layer.voxels, layer.grid, layer.labels, panel, views, style=style)
    if not panel.view.is_perspective:
        image = mark_scale(image, panel.view, style)
    if options.scores and layer.note and panel.name == options.views[0]:
        image = mark_text(image, [layer.note], style)
    return image


def layer_panels(
    layer: Layer, panels: Iterable[Panel], views: FrameViews, options: FigureOptions
) -> list[RgbImage]:
    """Draw a layer in each panel."""
    return [layer_panel(layer, panel, views, options) for panel in panels]


def input_panel(
    frame: FigureFrame, panel: Panel, views: FrameViews, options: FigureOptions
) -> RgbImage:
    """Draw the image or the points in a panel."""
    return draw_input(frame.sample, panel, views, style=options.style)


def has_inputs(frame: FigureFrame) -> bool:
    """Return whether the frame has images or points."""
    return frame.sample.images is not None or frame.sample.points is not None


def legend_of(
    frames: Iterable[FigureFrame],
    options: FigureOptions,
    *,
    maps: Iterable[UInt8[np.ndarray, "_ _"]] = (),
    all_classes: bool = False,
) -> list[list[LegendEntry]]:
    """Return the classes that occur, or all, and below them the kinds of error if shown.

    Args:
        frames: Frames whose voxels are shown.
        options: Options of the figure.
        maps: Maps of labels that are shown, too.
        all_classes: Whether to return all classes.
    """
    layers = [layer for frame in frames for layer in frame.layers]
    classes = [layer for layer in layers if layer.labels is not ERRORS]
    legend: list[LegendEntry] = []
    if classes:
        shown = _labels_in([*(layer.voxels for layer in classes), *maps])
        shown = set(range(256)) if all_classes else shown
        entries = class_entries(classes[0].labels)
        legend = [entry for label, entry in enumerate(entries, 1) if label in shown]
    if any(view != "front" for view in options.views):
        legend.append(LegendEntry("ego vehicle", options.style.ink))
    if len(classes) == len(layers):
        return [legend]
    return [legend, class_entries(ERRORS, ERROR_NOTES)]


def _row_names(frames: Sequence[FigureFrame], options: FigureOptions) -> list[str]:
    """Return the name of each frame of a comparison."""
    if not options.row_names:
        return [frame.sample.scene if len(frames) > 1 else "" for frame in frames]
    if len(options.row_names) != len(frames):
        raise ValueError(
            f"--rows needs a name for each of the {len(frames)} frames, got "
            f"{len(options.row_names)}: {list(options.row_names)}"
        )
    return list(options.row_names)


def _labels_in(arrays: Iterable[np.ndarray]) -> set[int]:
    found: set[int] = set()
    for array in arrays:
        found |= set(np.unique(array).tolist())
    return found - {FREE, IGNORE}
