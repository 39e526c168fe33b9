"""Page of a frame: sensor input, prediction, label and errors."""

import math

import numpy as np
from jaxtyping import UInt8

from dataset.sample import Sample
from engine.metrics.occupancy import OccupancyScores
from engine.pictures.frame_errors import (
    ERROR_NOTES,
    ERRORS,
    error_labels,
    frame_scores,
    percent_of,
)
from engine.pictures.frame_views import Panel, choose_views, ground_height_m, panels_in_row
from engine.pictures.legend import LegendEntry, class_entries
from engine.pictures.page import INK, frame_title
from engine.pictures.panels import draw_input, draw_voxels
from engine.pictures.table_page import table_page
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

COLUMNS = ("front", "driver", "bird")
"""Views of a page, one per column."""
MARGINS_PX = 130
"""Width of margins, gaps and row names of a page [px]."""


def draw_frame(
    sample: Sample,
    prediction: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    labels: LabelSet,
    *,
    width: int = 1600,
) -> UInt8[np.ndarray, "height page_width 3"]:
    """Draw input and prediction, and if there is a label, the label and the errors.

    Caption and ego motion are written below the input if the sample has them.

    Args:
        sample: The frame; shows the first camera's image and the points if it has them.
        prediction: Predicted label of each voxel.
        grid: Grid of the voxels.
        labels: Names and colors of the labels.
        width: Width of the page, to within a few pixels.

    Returns:
        RGB image.

    Raises:
        ValueError: If the prediction or the label does not match the grid in shape.
    """
    target = None if sample.occupancy is None else sample.occupancy.cpu().numpy()
    layers = [("Prediction", prediction, labels)]
    scores = None
    if target is not None:
        layers.append(("Label", target, labels))
    for name, voxels, _ in layers:
        if voxels.shape != grid.shape:
            raise ValueError(
                f"frame {sample.stem}: the {name.lower()} of shape {voxels.shape} does not match "
                f"the grid of {grid.shape} voxels"
            )
    if target is not None:
        layers.append(("Errors", error_labels(prediction, target), ERRORS))
        scores = frame_scores(prediction, target, labels)
    ground_m = ground_height_m(prediction if target is None else target, grid)
    views = choose_views(sample, grid, ground_m)
    panels = panels_in_row(views, COLUMNS, width - MARGINS_PX)
    rows = [("Input", [draw_input(sample, panel, views) for panel in panels])]
    rows += [
        (name, [draw_voxels(voxels, grid, label_set, panel, views) for panel in panels])
        for name, voxels, label_set in layers
    ]
    return table_page(
        frame_title(sample),
        _score_note(scores),
        _column_titles(sample, grid, panels[0]),
        rows,
        _legend(labels, scores),
        caption=frame_caption(sample),
    )


def frame_caption(sample: Sample) -> list[str]:
    """Return caption and ego motion as paragraphs; empty if the sample has neither."""
    paragraphs = [sample.caption] if sample.caption else []
    if sample.vehicle is not None:
        speed_mps = math.hypot(*sample.vehicle.velocity_mps)
        ahead, left, up = sample.vehicle.acceleration_mps2
        paragraphs.append(
            f"Speed {speed_mps:.1f} m/s ({3.6 * speed_mps:.0f} km/h), acceleration "
            f"{ahead:+.2f} forward, {left:+.2f} left, {up:+.2f} up m/s^2"
        )
    return paragraphs


def _score_note(scores: OccupancyScores | None) -> str:
    if scores is None:
        return "no label"
    return f"this frame: IoU {percent_of(scores.iou)} %,  mIoU {percent_of(scores.miou)} %"


def _column_titles(sample: Sample, grid: VoxelGrid, front: Panel) -> list[str]:
    """Return the title of each column; ``front`` is the panel of the first."""
    title = "Front" if sample.images is None else "Camera"
    if front.spare_rows:
        title += " (image between the dashes)"
    across_m = grid.end_m[1] - grid.origin_m[1]
    return [title, "From behind and above", f"Bird's eye, {across_m:.0f} m across"]


def _legend(labels: LabelSet, scores: OccupancyScores | None) -> list[list[LegendEntry]]:
    """Return the classes, and if there is a label, their IoU and the kinds of error."""
    ego = LegendEntry("ego vehicle", INK)
    if scores is None:
        return [[*class_entries(labels), ego]]
    notes = [
        f"IoU {percent_of(scores.per_class_iou.get(name, math.nan))}"
        for name in labels.class_names[1:]
    ]
    return [[*class_entries(labels, notes), ego], class_entries(ERRORS, ERROR_NOTES)]
