"""One picture a frame: what the sensors saw, the prediction, the label and where they differ."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from dataset.sample import Sample
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, occupancy_scores
from engine.pictures.frame_views import choose_views, ground_height_m, panels_in_row
from engine.pictures.page import INK, LegendEntry, frame_title, table_page
from engine.pictures.panels import RgbImage, draw_input, draw_voxels
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet

ERRORS = LabelSet(
    name="errors",
    class_names=("free", "correct", "missed", "invented", "wrong class"),
    colors=((255, 255, 255), (205, 209, 214), (214, 39, 40), (31, 119, 220), (255, 176, 0)),
)
"""The labels of an error map."""
COLUMNS = ("front", "driver", "bird")
"""Views of a frame's page."""
ERROR_NOTES = (
    "occupied, predicted so",
    "occupied, predicted free",
    "free, predicted occupied",
    "occupied, another class",
)


def draw_frame(
    sample: Sample,
    prediction: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    labels: LabelSet,
    *,
    width: int = 1600,
) -> UInt8[np.ndarray, "height page_width 3"]:
    """Draw the input, the prediction and, where the sample has one, the label and the errors.

    Caption and motion of the vehicle stand below the input, where the sample has them.

    Args:
        sample: The frame; the first camera's picture and the points are shown where it has them.
        prediction: Predicted label of each voxel.
        grid: Where the voxels are.
        labels: Names and colours of the labels.
        width: Columns of the page, to within a few.

    Returns:
        RGB picture.

    Raises:
        ValueError: If the prediction or the label does not fill the grid.
    """
    target = None if sample.occupancy is None else sample.occupancy.cpu().numpy()
    for what, voxels in (("prediction", prediction), ("label", target)):
        if voxels is not None and voxels.shape != grid.shape:
            raise ValueError(
                f"frame {sample.stem}: the {what} of shape {voxels.shape} does not fill the grid "
                f"of {grid.shape} voxels"
            )
    ground_m = ground_height_m(prediction if target is None else target, grid)
    views = choose_views(sample, grid, ground_m)
    panels = panels_in_row(views, COLUMNS, width - 130)

    def draw(voxels: UInt8[np.ndarray, "X Y Z"], of: LabelSet) -> list[RgbImage]:
        return [draw_voxels(voxels, grid, of, panel, views) for panel in panels]

    rows = [
        ("Input", [draw_input(sample, panel, views) for panel in panels]),
        ("Prediction", draw(prediction, labels)),
    ]
    ego = LegendEntry("ego vehicle", INK)
    if target is None:
        note = "no label"
        legend = [[*class_entries(labels), ego]]
    else:
        scores = frame_scores(prediction, target, labels)
        errors = error_labels(prediction, target)
        rows.append(("Label", draw(target, labels)))
        rows.append(("Errors", draw(errors, ERRORS)))
        note = f"this frame: IoU {percent_of(scores.iou)} %,  mIoU {percent_of(scores.miou)} %"
        class_notes = [
            f"IoU {percent_of(scores.per_class_iou.get(name, math.nan))}"
            for name in labels.class_names[1:]
        ]
        legend = [[*class_entries(labels, class_notes), ego], class_entries(ERRORS, ERROR_NOTES)]
    front = "Front" if sample.images is None else "Camera's view"
    if panels[0].spare_rows:
        front += ", its picture between the dashes"
    across = f"Bird's eye, {grid.end_m[1] - grid.origin_m[1]:.0f} m across"
    columns = (front, "From behind and above", across)
    return table_page(frame_title(sample), note, columns, rows, legend, words=frame_words(sample))


def frame_words(sample: Sample) -> list[str]:
    """What was written and measured about a frame, in lines; empty where it was not read."""
    words = [sample.caption] if sample.caption else []
    if sample.vehicle is not None:
        speed_mps = math.hypot(*sample.vehicle.velocity_mps)
        ahead, left, up = sample.vehicle.acceleration_mps2
        words.append(
            f"Speed {speed_mps:.1f} m/s ({3.6 * speed_mps:.0f} km/h), acceleration "
            f"{ahead:+.2f} ahead, {left:+.2f} left, {up:+.2f} up m/s^2"
        )
    return words


def error_labels(
    prediction: UInt8[np.ndarray, "X Y Z"], target: UInt8[np.ndarray, "X Y Z"]
) -> UInt8[np.ndarray, "X Y Z"]:
    """The label in ``ERRORS`` of each voxel: free where both are free, 255 where ignored."""
    is_predicted, is_labelled = prediction != FREE, target != FREE
    errors = np.full(target.shape, FREE, dtype=np.uint8)
    errors[is_labelled & (prediction == target)] = ERRORS.index("correct")
    errors[is_labelled & ~is_predicted] = ERRORS.index("missed")
    errors[is_predicted & ~is_labelled] = ERRORS.index("invented")
    errors[is_predicted & is_labelled & (prediction != target)] = ERRORS.index("wrong class")
    errors[target == IGNORE] = IGNORE
    return errors


def frame_scores(
    prediction: UInt8[np.ndarray, "X Y Z"], target: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> OccupancyScores:
    """Scores of one frame alone, by the default convention."""
    confusion = Confusion(labels.num_classes)
    confusion.update(prediction, target)
    return occupancy_scores(confusion, labels)


def class_entries(labels: LabelSet, notes: Sequence[str] | None = None) -> list[LegendEntry]:
    """A legend entry for each class but free, with notes in the same order."""
    names = [name.replace("_", " ") for name in labels.class_names[1:]]
    notes = notes or [""] * len(names)
    return [
        LegendEntry(name, color, note)
        for name, color, note in zip(names, labels.colors[1:], notes, strict=True)
    ]


def percent_of(share: float) -> str:
    """A share in per cent, a dash where there is none."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
