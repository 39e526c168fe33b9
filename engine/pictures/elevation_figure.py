"""Elevation figure of a frame: label, prediction and error."""

import cv2
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MultipleLocator

from dataset.elevation import ElevationGrid
from dataset.sample import Sample
from engine.metrics.elevation import ElevationErrors
from engine.pictures.page import frame_title
from engine.pictures.plots import (
    FAINT_COLOR,
    SMALL_PT,
    new_figure,
    strip_axes,
    write_heading,
    write_title,
)

UNLABELED = "#e2e4e8"
"""Color of cells without a label."""
ERROR_CM = 10
"""Larger errors saturate the color map [cm]."""
HEIGHT_COLORS: Colormap = colormaps["viridis"].with_extremes(bad=UNLABELED)
ERROR_COLORS: Colormap = LinearSegmentedColormap.from_list(
    "error", ("#2154c4", "#fafafa", "#c82026")
).with_extremes(bad=UNLABELED)
TICK_M = 5
"""Distance between the ticks of a map [m]."""
_ZERO_BORDER = cv2.BORDER_CONSTANT
"""Cells beyond the border of a map add nothing to a sum."""


def elevation_figure(
    sample: Sample,
    predicted_m: Float[np.ndarray, "rows cols"],
    cells: ElevationGrid,
    errors: ElevationErrors | None,
    *,
    method: str,
) -> Figure:
    """Draw label, prediction and error side by side, with color bars.

    Labels are sparse and would look like scattered dots. So an unlabeled cell shows the mean of its
    labeled neighbors, in the label and in the error. Scores do not use these means.

    Args:
        sample: The frame, with its label.
        predicted_m: Predicted height of each cell [m].
        cells: Grid of the cells.
        errors: Errors of this map, for the heading; None without labeled cells.
        method: Name of the method.

    Raises:
        ValueError: If the frame has no label, or label and prediction differ in shape.
    """
    if sample.elevation_m is None or tuple(sample.elevation_m.shape) != predicted_m.shape:
        raise ValueError(
            f"frame {sample.stem}: a prediction of {predicted_m.shape} cells needs a label of the "
            f"same shape, got {None if sample.elevation_m is None else sample.elevation_m.shape}"
        )
    label_m = sample.elevation_m.numpy()
    low, high = _range(label_m if np.isfinite(label_m).any() else predicted_m)
    note = "no label"
    if errors is not None:
        note = f"MAE {errors.mae_cm:.1f} cm, {100 * errors.within_5_cm:.0f} % within 5 cm"
    figure = new_figure(12.0, 3.95)
    write_heading(figure, frame_title(sample), note)
    label, prediction, error = figure.subplots(1, 3, sharex=True, sharey=True)
    _draw_map(label, _close_gaps(label_m), cells, HEIGHT_COLORS, (low, high))
    heights = _draw_map(prediction, predicted_m, cells, HEIGHT_COLORS, (low, high))
    error_cm = _close_gaps(100 * (predicted_m - label_m))
    drawn = _draw_map(error, error_cm, cells, ERROR_COLORS, (-ERROR_CM, ERROR_CM))
    for axes, title in (
        (label, "Label"),
        (prediction, f"Prediction: {method}"),
        (error, "Prediction minus label"),
    ):
        write_title(axes, title)
    label.set_ylabel("forward [m]", fontsize=SMALL_PT, color=FAINT_COLOR)
    _add_color_bar(figure, heights, prediction, "height [m]")
    _add_color_bar(figure, drawn, error, "error [cm]")
    return figure


def _draw_map(
    axes: Axes,
    values: Float[np.ndarray, "rows cols"],
    cells: ElevationGrid,
    colors: Colormap,
    ends: tuple[float | int, float | int],
) -> AxesImage:
    """Draw a map from above: forward is up, left is left."""
    (near, right), (far, left) = cells.near_right_m, cells.far_left_m
    strip_axes(axes)
    axes.xaxis.set_major_locator(MultipleLocator(TICK_M))
    axes.yaxis.set_major_locator(MultipleLocator(TICK_M))
    axes.set_xlabel("left [m]", fontsize=SMALL_PT, color=FAINT_COLOR)
    return axes.imshow(
        values,
        cmap=colors,
        vmin=ends[0],
        vmax=ends[1],
        extent=(left, right, near, far),
        interpolation="nearest",
    )


def _add_color_bar(figure: Figure, drawn: AxesImage, axes: Axes, label: str) -> None:
    """Add a color bar to the right of a map; values beyond its range have the end colors."""
    bar = figure.colorbar(drawn, ax=axes, extend="both", aspect=30, pad=0.02, extendfrac=0.025)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=SMALL_PT, labelcolor=FAINT_COLOR)
    bar.set_label(label, fontsize=SMALL_PT, color=FAINT_COLOR)


def _range(height_m: Float[np.ndarray, "rows cols"]) -> tuple[float, float]:
    """Return the range of the color map [m]: 1st to 99th percentile, at least 10 cm wide."""
    low, high = np.nanpercentile(height_m, (1, 99))
    middle, half = (low + high) / 2, max(high - low, 0.1) / 2
    return float(middle - half), float(middle + half)


def _close_gaps(values: Float[np.ndarray, "rows cols"]) -> Float[np.ndarray, "rows cols"]:
    """Fill unknown cells with the mean of their eight neighbors; NaN if all are unknown."""
    is_known = np.isfinite(values)
    total, number = (
        cv2.boxFilter(part.astype(np.float64), -1, (3, 3), normalize=False, borderType=_ZERO_BORDER)
        for part in (np.where(is_known, values, 0.0), is_known)
    )
    mean = np.where(number > 0.5, total / np.maximum(number, 1), np.nan)
    return np.where(is_known, values, mean)
