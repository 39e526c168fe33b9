"""One picture a frame: the elevation label, a prediction of it and where they differ."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dataset.sample import Sample
from engine.metrics.elevation import ElevationErrors
from engine.pictures.color_maps import BLUE_WHITE_RED, VIRIDIS
from engine.pictures.page import FAINT_INK, Page, frame_title, table_page
from engine.pictures.panels import RgbImage

UNKNOWN = (226, 228, 232)
"""Cells without a label."""
PANEL_ROWS = 420
"""Height of a panel [px], about."""
ERROR_CM = 10
"""Errors from here on have the ends of the colour bar."""
_BAR_WIDTH, _BAR_ROOM = 14, 78
_NOTHING = cv2.BORDER_CONSTANT
"""Beyond the border of a map there is nothing to add up."""


def draw_elevation(
    sample: Sample,
    predicted_m: Float[np.ndarray, "rows cols"],
    errors: ElevationErrors | None,
    *,
    method: str,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw label, prediction and error beside each other, each with its colour bar.

    Labels are so sparse that they would be a pattern of dots: a cell without one shows the mean of
    those around it, of label and error alike. Nothing is scored so.

    Args:
        sample: The frame, with its label.
        predicted_m: Heights of the label's cells [m].
        errors: Of this map, for the title; None where it has no label.
        method: What predicted.

    Returns:
        RGB picture.

    Raises:
        ValueError: If the frame has no label, or one of other cells.
    """
    if sample.elevation_m is None or tuple(sample.elevation_m.shape) != predicted_m.shape:
        raise ValueError(
            f"frame {sample.stem}: a prediction of {predicted_m.shape} cells needs a label of "
            f"as many, got {None if sample.elevation_m is None else sample.elevation_m.shape}"
        )
    label_m = sample.elevation_m.numpy()
    low, high = _range(label_m if np.isfinite(label_m).any() else predicted_m)
    error_cm = _close_gaps(100 * (predicted_m - label_m))
    label_m = _close_gaps(label_m)
    error_ends = (f"-{ERROR_CM} cm", f"{ERROR_CM} cm")
    ends = (f"{low:.2f} m", f"{high:.2f} m")
    panels = [
        _panel((label_m - low) / (high - low), VIRIDIS, ends),
        _panel((predicted_m - low) / (high - low), VIRIDIS, ends),
        _panel(0.5 + 0.5 * error_cm / ERROR_CM, BLUE_WHITE_RED, error_ends),
    ]
    note = "no label"
    if errors is not None:
        note = f"MAE {errors.mae_cm:.1f} cm,  {100 * errors.within_5_cm:.0f} % within 5 cm"
    columns = ("Label", f"Prediction: {method}", "Prediction minus label")
    rows = [("far end up, left on the left", panels)]
    return table_page(frame_title(sample), note, columns, rows, [])


def _range(height_m: Float[np.ndarray, "rows cols"]) -> tuple[float, float]:
    """Heights that the colours go from and to: without the few highest and lowest cells [m]."""
    low, high = np.nanpercentile(height_m, (1, 99))
    middle, half = (low + high) / 2, max(high - low, 0.1) / 2
    return float(middle - half), float(middle + half)


def _close_gaps(values: Float[np.ndarray, "rows cols"]) -> Float[np.ndarray, "rows cols"]:
    """The mean of the eight cells around each unknown one; NaN where all are unknown."""
    is_known = np.isfinite(values)
    total, number = (
        cv2.boxFilter(part.astype(np.float64), -1, (3, 3), normalize=False, borderType=_NOTHING)
        for part in (np.where(is_known, values, 0.0), is_known)
    )
    mean = np.where(number > 0.5, total / np.maximum(number, 1), np.nan)
    return np.where(is_known, values, mean)


def _panel(
    share: Float[np.ndarray, "rows cols"], colors: UInt8[np.ndarray, "256 3"], ends: tuple[str, str]
) -> RgbImage:
    """Cells in colours, those that are NaN grey, and a colour bar on their right."""
    is_known = np.isfinite(share)
    index = np.rint(255 * np.where(is_known, share, 0.0).clip(0, 1)).astype(np.uint8)
    cells = np.where(is_known[..., None], colors[index], np.array(UNKNOWN, np.uint8))
    side = max(1, round(PANEL_ROWS / share.shape[0]))
    cells = cells.repeat(side, axis=0).repeat(side, axis=1)
    height, width = cells.shape[:2]
    page = Page(width + _BAR_ROOM, height + 2)
    page.paste(cells, 1, 1)
    ramp = colors[np.linspace(255, 0, height - 48).round().astype(int)]
    page.paste(ramp[:, None].repeat(_BAR_WIDTH, axis=1), width + 12, 25)
    page.write(ends[1], width + 8, 12, size=13, color=FAINT_INK)
    page.write(ends[0], width + 8, height - 10, size=13, color=FAINT_INK)
    return page.picture()
