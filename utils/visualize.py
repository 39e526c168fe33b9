"""One picture a frame: what the sensors saw, the prediction, the label and where they differ."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dataset.sample import Sample
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet
from utils.metrics.confusion import Confusion
from utils.metrics.occupancy import OccupancyScores, occupancy_scores
from utils.page import FAINT_INK, INK, LegendEntry, Page, Rgb, fit, table_page
from utils.view import NEAR_M, View, birds_eye, look_at
from utils.voxel_render import render_voxels

Picture = UInt8[np.ndarray, "_ _ 3"]

ERRORS = LabelSet(
    name="errors",
    class_names=("free", "correct", "missed", "invented", "wrong class"),
    colors=((255, 255, 255), (205, 209, 214), (214, 39, 40), (31, 119, 220), (255, 176, 0)),
)
"""The labels of an error map."""
ERROR_NOTES = (
    "occupied, predicted so",
    "occupied, predicted free",
    "free, predicted occupied",
    "occupied, another class",
)
DAY: Rgb = (248, 249, 251)
"""Background of voxels."""
NIGHT: Rgb = (24, 26, 34)
"""Background of points, whose colours are bright."""
WIDEST_FRONT = 2.2
"""Most width of the camera's column, in heights of a row."""
_TURBO = cv2.applyColorMap(
    np.arange(256, dtype=np.uint8).reshape(16, 16), cv2.COLORMAP_TURBO
).reshape(256, 3)[:, ::-1]
"""RGB from blue over green to red."""
DRIVER_ASPECT = 1.5
"""Width of the column seen from behind and above, in heights of a row."""


class _Stage(NamedTuple):
    """Where the panels of every row are seen from, and what stands there.

    Attributes:
        views: Front view, from behind and above, bird's eye.
        spare_rows: Rows of the front view above, and below, the camera's picture.
        ground_m: Height of the ground under the vehicle [m].
        length_m: Length of the grid [m].
    """

    views: tuple[View, View, View]
    spare_rows: int
    ground_m: float
    length_m: float


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
    ground_m = _ground_m(prediction if target is None else target, grid)
    stage = _set_stage(sample, grid, ground_m, width)
    rows = [
        ("Input", _input_panels(sample, stage)),
        ("Prediction", _voxel_panels(prediction, grid, labels, stage)),
    ]
    ego = LegendEntry("ego vehicle", INK)
    if target is None:
        note = "no label"
        legend = [[*_class_entries(labels), ego]]
    else:
        scores = frame_scores(prediction, target, labels)
        errors = error_labels(prediction, target)
        rows.append(("Label", _voxel_panels(target, grid, labels, stage)))
        rows.append(("Errors", _voxel_panels(errors, grid, ERRORS, stage)))
        note = f"this frame: IoU {_percent(scores.iou)} %,  mIoU {_percent(scores.miou)} %"
        class_notes = [
            f"IoU {_percent(scores.per_class_iou.get(name, math.nan))}"
            for name in labels.class_names[1:]
        ]
        legend = [[*_class_entries(labels, class_notes), ego], _class_entries(ERRORS, ERROR_NOTES)]
    front = "Front" if sample.images is None else "Camera's view"
    if stage.spare_rows:
        front += ", its picture between the dashes"
    across = f"Bird's eye, {grid.end_m[1] - grid.origin_m[1]:.0f} m across"
    title = f"{sample.scene}  ·  {sample.stem}" if sample.scene else sample.stem
    columns = (front, "From behind and above", across)
    return table_page(title, note, columns, rows, legend, words=frame_words(sample))


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


def draw_points(
    points: Float[np.ndarray, "P F"], view: View, *, low_m: float | int, high_m: float | int
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw points in colours by height, near ones over far ones, on a dark ground.

    Args:
        points: x, y, z [m] and whatever else.
        view: Where to look from.
        low_m: Height [m] of the first colour, which points below it have too.
        high_m: Height [m] of the last colour.

    Returns:
        RGB picture.
    """
    fine = view.resize(2 * view.width, 2 * view.height)
    picture = np.full((fine.height, fine.width, 3), NIGHT, dtype=np.uint8)
    pixels, depth = fine.project(points[:, :3].astype(np.float64))
    column, row = np.floor(pixels).T
    in_view = (column >= 1) & (row >= 1) & (column < fine.width - 1) & (row < fine.height - 1)
    shown = np.flatnonzero(in_view & ((depth > NEAR_M) | (not view.is_perspective)))
    shown = shown[np.argsort(-depth[shown], kind="stable")]
    height = ((points[shown, 2] - low_m) / (high_m - low_m)).clip(0, 1)
    # The ends of the colour map are too dark for a dark ground.
    color = _TURBO[np.rint(30 + 205 * height).astype(np.uint8)]
    # A point covers 3 × 3 pixels; where points overlap, the last assignment stays.
    down, right = np.mgrid[-1:2, -1:2].reshape(2, 1, 9)
    rows = row[shown, None].astype(np.int64) + down
    columns = column[shown, None].astype(np.int64) + right
    picture[rows.ravel(), columns.ravel()] = color.repeat(9, axis=0)
    return fit(picture, view.width, view.height)


def _set_stage(sample: Sample, grid: VoxelGrid, ground_m: float, width: int) -> _Stage:
    """Choose the views, and panels that together are about ``width`` wide."""
    (near, right, _), (far, left, top) = grid.origin_m, grid.end_m
    length, middle = far - near, (left + right) / 2
    behind = min(near, -0.09 * length)
    bird = birds_eye((behind, left), (far, right), height=1000, top_m=top)
    driver = look_at(
        (near - 0.33 * length, middle, ground_m + 0.28 * length),
        (near + 0.27 * length, middle, ground_m),
        size=(1000, round(1000 / DRIVER_ASPECT)),
        fov_deg=58,
    )
    if sample.images is not None and sample.pixel_from_lidar is not None:
        rows, columns = sample.images.shape[-2:]
        front = View(sample.pixel_from_lidar[0].double().cpu().numpy(), columns, rows)
    else:
        front = look_at((0, 0, 0), (length / 2, 0, -2), size=(1600, 1000), fov_deg=70)
    front_share, bird_share = min(front.aspect, WIDEST_FRONT), bird.aspect
    height = round((width - 130) / (front_share + DRIVER_ASPECT + bird_share))
    front_width = round(front_share * height)
    spare_rows = max(0, round((height - front_width / front.aspect) / 2))
    views = (
        front.resize(front_width, height - 2 * spare_rows).extend(height),
        driver.resize(round(DRIVER_ASPECT * height), height),
        bird.resize(round(bird_share * height), height),
    )
    return _Stage(views, spare_rows, ground_m, length)


def _voxel_panels(
    voxels: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid, labels: LabelSet, stage: _Stage
) -> list[Picture]:
    """Voxels in the three views; dashes show where the camera's picture ends."""
    if not ((voxels != FREE) & (voxels != IGNORE)).any():
        panels = [_notice(view, "nothing occupied") for view in stage.views]
    else:
        palette = labels.palette()
        panels = [render_voxels(voxels, grid, palette, v, background=DAY) for v in stage.views]
    if stage.spare_rows:
        for row in (stage.spare_rows, -stage.spare_rows - 1):
            panels[0][row, np.arange(stage.views[0].width) % 12 < 6] = FAINT_INK
    return [panels[0], *_mark_ego(panels[1:], stage, INK)]


def _input_panels(sample: Sample, stage: _Stage) -> list[Picture]:
    """The picture and the points; the points fill the picture's place where there is none."""
    if sample.points is None:
        panels = [_notice(view, "LiDAR not used") for view in stage.views]
    else:
        points = sample.points.cpu().numpy()
        low_m, high_m = stage.ground_m - 1, stage.ground_m + 0.12 * stage.length_m
        panels = [draw_points(points, view, low_m=low_m, high_m=high_m) for view in stage.views]
        panels[1:] = _mark_ego(panels[1:], stage, DAY)
    if sample.images is not None:
        view = stage.views[0]
        picture = sample.images[0].permute(1, 2, 0).cpu().numpy()
        panels[0] = np.full((view.height, view.width, 3), DAY, dtype=np.uint8)
        rows = slice(stage.spare_rows, view.height - stage.spare_rows)
        panels[0][rows] = fit(picture, view.width, view.height - 2 * stage.spare_rows)
    return panels


def _notice(view: View, words: str) -> Picture:
    """An empty panel that says why it is empty."""
    page = Page(view.width, view.height, color=DAY)
    page.write(words, view.width / 2, view.height / 2, color=FAINT_INK, anchor="mm")
    return page.picture()


def _mark_ego(panels: Sequence[Picture], stage: _Stage, color: Rgb) -> list[Picture]:
    """The panels from above with an arrow where the vehicle stands."""
    arrow_m = np.array([[0, 0], [-1, 0.42], [-0.76, 0], [-1, -0.42]]) * 0.05 * stage.length_m
    corners = np.column_stack([arrow_m, np.full(4, stage.ground_m)])
    marked = []
    for panel, view in zip(panels, stage.views[1:], strict=True):
        pixels, _ = view.project(corners)
        polygon = np.rint((pixels - 0.5) * 16).astype(np.int32)  # 4 bits of a pixel's fraction.
        drawn = np.ascontiguousarray(panel)
        marked.append(cv2.fillPoly(drawn, [polygon], color, cv2.LINE_AA, 4))
    return marked


def _ground_m(labels: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid) -> float:
    """Height of the ground, from the lowest voxels in front of the vehicle [m]."""
    is_occupied = (labels != FREE) & (labels != IGNORE)
    x_m, y_m = (
        origin + (np.arange(count) + 0.5) * grid.voxel_m
        for origin, count in zip(grid.origin_m[:2], grid.shape[:2], strict=True)
    )
    columns = is_occupied[np.ix_((x_m > 0) & (x_m < 15), np.abs(y_m) < 5)].reshape(
        -1, labels.shape[2]
    )
    columns = columns[columns.any(1)]
    if not len(columns):
        return grid.origin_m[2] + (grid.end_m[2] - grid.origin_m[2]) / 8
    return float(grid.origin_m[2] + (np.median(columns.argmax(1)) + 1) * grid.voxel_m)


def _class_entries(labels: LabelSet, notes: Sequence[str] | None = None) -> list[LegendEntry]:
    """A legend entry for each class but free, with notes in the same order."""
    names = [name.replace("_", " ") for name in labels.class_names[1:]]
    notes = notes or [""] * len(names)
    return [
        LegendEntry(name, color, note)
        for name, color, note in zip(names, labels.colors[1:], notes, strict=True)
    ]


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
