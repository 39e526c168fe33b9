"""Figure of a frame: what each branch renders, what supervises it, and the occupancy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from engine.pictures.branch_maps import SEMANTIC, BranchMap, RenderedFrame
from engine.pictures.color_maps import TURBO
from engine.pictures.figures import (
    VIEW_TITLES,
    FigureOptions,
    Table,
    input_panel,
    layer_panels,
    legend_of,
    views_of,
)
from engine.pictures.frame_views import panel_of_width, panels_in_row
from engine.pictures.layers import FigureFrame
from engine.pictures.legend import LegendEntry
from engine.pictures.map_panel import draw_map, map_title
from engine.pictures.page import Style, frame_title
from engine.pictures.panels import RgbImage
from utils.labels import LabelSet


def branch_tables(
    frame: FigureFrame, rendered: RenderedFrame, labels: LabelSet, options: FigureOptions
) -> tuple[Table, Table]:
    """Lay out the maps of the branches above their targets, and the occupancy.

    Args:
        frame: Input, prediction, and label if there is one.
        rendered: The maps of the branches.
        labels: Colors of the labels.
        options: Options of the figure; its views are for the occupancy.

    Returns:
        The table of the maps, and the table of the occupancy in each view.

    Raises:
        ValueError: If a view or the camera is unknown, or the page is too narrow.
    """
    style, maps = options.style, rendered.maps
    width = options.panels_px(len(maps), with_names=True) // len(maps)
    height = panel_of_width(views_of(frame, options), "front", width).view.height
    size = (width, height)

    def draw(values: np.ndarray, branch_map: BranchMap) -> RgbImage:
        return draw_map(values, branch_map.kind, labels, size, far_m=rendered.far_m, style=style)

    rows = [("Predicted", [draw(branch_map.values, branch_map) for branch_map in maps])]
    targets = [branch_map.target for branch_map in maps]
    if any(target is not None for target in targets):
        blank = np.full((height, width, 3), style.background, np.uint8)
        pairs = zip(targets, maps, strict=True)
        drawn = [
            blank if target is None else draw(target, branch_map) for target, branch_map in pairs
        ]
        rows.append(("Supervision", drawn))
    columns = [map_title(branch_map) for branch_map in maps]
    title = frame_title(frame.sample) if options.title is None else options.title
    files = [frame.sample.stem] * len(rows)
    return Table(title, columns, rows, [], files), _occupancy(frame, rendered, options)


def stack_pages(
    pages: Sequence[UInt8[np.ndarray, "_ _ 3"]], style: Style
) -> UInt8[np.ndarray, "height width 3"]:
    """Stack pages from top to bottom, and pad narrow ones with blank paper on the right."""
    widest = max(page.shape[1] for page in pages)
    parts = [np.full((page.shape[0], widest, 3), style.paper, np.uint8) for page in pages]
    for part, page in zip(parts, pages, strict=True):
        part[:, : page.shape[1]] = page
    return np.concatenate(parts)


def _occupancy(frame: FigureFrame, rendered: RenderedFrame, options: FigureOptions) -> Table:
    """Lay out the input beside prediction and label in each view, with the legend of the page."""
    views = views_of(frame, options)
    names = ["front", *options.views]
    panels = panels_in_row(views, names, options.panels_px(len(names), with_names=True))
    rows: list[tuple[str, list[RgbImage]]] = []
    for number, layer in enumerate(frame.layers):
        shown = frame
        if number % 2:  # Rows alternate between the image and the points.
            shown = frame._replace(sample=replace(frame.sample, images=None))
        first = input_panel(shown, panels[0], views, options)
        rows.append((layer.name, [first, *layer_panels(layer, panels[1:], views, options)]))
    columns = ["Input", *(VIEW_TITLES[view] for view in options.views)]
    semantic = [branch_map for branch_map in rendered.maps if branch_map.kind == SEMANTIC]
    targets = [branch_map.target for branch_map in semantic if branch_map.target is not None]
    maps = [*(branch_map.values for branch_map in semantic), *targets]
    legend = legend_of([frame], options, maps=maps)
    entries = [LegendEntry(f"depth, 0 to {rendered.far_m:g} m", TURBO)]
    if targets:
        entries.append(LegendEntry("not supervised", options.style.frame))
    files = [frame.sample.stem] * len(rows)
    return Table("", columns, rows, [*legend, entries], files)
