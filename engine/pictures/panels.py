"""Panels of a page: voxels, LiDAR points and images in the views of a frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dataset.sample import Sample
from engine.pictures.color_maps import TURBO
from engine.pictures.frame_views import FrameViews, Panel
from engine.pictures.page import DAY, NIGHT, SCREEN, Page, Rgb, Style, fit
from engine.pictures.voxel_render import render_voxels
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet
from utils.view import NEAR_M, Viewpoint

RgbImage = UInt8[np.ndarray, "_ _ 3"]

SCALE_BARS_M = (1, 2, 5, 10, 20, 50, 100)
_VEHICLE_ARROW = np.array([[0, 0], [-1, 0.42], [-0.76, 0], [-1, -0.42]])
"""Corners of the vehicle's arrow; x forward, y left."""


def draw_voxels(
    voxels: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    labels: LabelSet,
    panel: Panel,
    views: FrameViews,
    *,
    style: Style = SCREEN,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw voxels in a panel, with the vehicle; dashes mark the ends of a camera's image.

    Args:
        voxels: Label of each voxel.
        grid: Grid of the voxels.
        labels: Label set, with colors.
        panel: The panel.
        views: Views of the frame, with the ground height under the vehicle.
        style: Colors and scale.

    Returns:
        RGB image.
    """
    if not ((voxels != FREE) & (voxels != IGNORE)).any():
        image = draw_notice(panel.view, "nothing occupied", style)
    else:
        image = render_voxels(
            voxels, grid, labels.palette(), panel.view, background=style.background
        )
    if panel.name != "front":
        return mark_vehicle(image, panel.view, views, style.ink)
    if panel.spare_rows:
        for row in (panel.spare_rows, -panel.spare_rows - 1):
            image[row, np.arange(panel.view.width) % 12 < 6] = style.faint_ink
    return image


def draw_camera(
    sample: Sample, panel: Panel, camera: int = 0, *, style: Style = SCREEN
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a camera's image in the panel of the front view.

    Raises:
        ValueError: If the frame has no such image.
    """
    if sample.images is None or not 0 <= camera < len(sample.images):
        raise ValueError(f"frame {sample.stem} has no image of camera {camera}")
    height, width = panel.view.height, panel.view.width
    rows, columns = height - 2 * panel.spare_rows, width - 2 * panel.spare_columns
    drawn = np.full((height, width, 3), style.background, dtype=np.uint8)
    image = sample.images[camera].permute(1, 2, 0).cpu().numpy()
    inner = drawn[panel.spare_rows :, panel.spare_columns :][:rows, :columns]
    inner[:] = fit(image, columns, rows)
    return drawn


def draw_input(
    sample: Sample, panel: Panel, views: FrameViews, *, style: Style = SCREEN
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the sensor input: the image in the front view, points in the others.

    Without an image, the front view shows the points too.
    """
    if panel.name == "front" and sample.images is not None:
        return draw_camera(sample, panel, views.camera or 0, style=style)
    if sample.points is None:
        return draw_notice(panel.view, "LiDAR not used", style)
    low_m, high_m = views.ground_m - 1, views.ground_m + 0.12 * views.length_m
    points = sample.points.cpu().numpy()
    image = draw_points(points, panel.view, low_m=low_m, high_m=high_m)
    return image if panel.name == "front" else mark_vehicle(image, panel.view, views, DAY)


def draw_points(
    points: Float[np.ndarray, "P F"], view: Viewpoint, *, low_m: float | int, high_m: float | int
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw points colored by height, near ones over far ones, on a dark background.

    Args:
        points: x, y, z [m], and any other columns.
        view: Viewpoint.
        low_m: Height at the low end of the color map [m]; lower points are clipped.
        high_m: Height at the high end [m]; higher points are clipped.

    Returns:
        RGB image.
    """
    fine = view.resize(2 * view.width, 2 * view.height)
    image = np.full((fine.height, fine.width, 3), NIGHT, dtype=np.uint8)
    pixels, depth = fine.project(points[:, :3].astype(np.float64))
    column, row = np.floor(pixels).T
    in_view = (column >= 1) & (row >= 1) & (column < fine.width - 1) & (row < fine.height - 1)
    shown = np.flatnonzero(in_view & ((depth > NEAR_M) | (not view.is_perspective)))
    shown = shown[np.argsort(-depth[shown], kind="stable")]
    height = ((points[shown, 2] - low_m) / (high_m - low_m)).clip(0, 1)
    # The ends of the color map are too dark for a dark background.
    color = TURBO[np.rint(30 + 205 * height).astype(np.uint8)]
    # A point covers 3 × 3 pixels; where points overlap, the last assignment wins.
    down, right = np.mgrid[-1:2, -1:2].reshape(2, 1, 9)
    rows = row[shown, None].astype(np.int64) + down
    columns = column[shown, None].astype(np.int64) + right
    image[rows.ravel(), columns.ravel()] = color.repeat(9, axis=0)
    return fit(image, view.width, view.height)


def draw_notice(
    view: Viewpoint, text: str, style: Style = SCREEN
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw an empty panel with the reason it is empty."""
    page = Page.over(np.full((view.height, view.width, 3), style.background, dtype=np.uint8), style)
    middle = (view.width / 2 / style.scale, view.height / 2 / style.scale)
    page.write(text, *middle, color=style.faint_ink, anchor="mm")
    return page.image()


def mark_vehicle(
    image: UInt8[np.ndarray, "height width 3"], view: Viewpoint, views: FrameViews, color: Rgb
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw an arrow on the ground at the vehicle's position."""
    corners = np.column_stack([_VEHICLE_ARROW * 0.05 * views.length_m, np.full(4, views.ground_m)])
    pixels, _ = view.project(corners)
    polygon = np.rint((pixels - 0.5) * 16).astype(np.int32)  # 4 fractional bits.
    drawn = np.array(image)
    cv2.fillPoly(drawn, [polygon], color, cv2.LINE_AA, 4)
    return drawn


def mark_scale(
    image: UInt8[np.ndarray, "height width 3"], view: Viewpoint, style: Style = SCREEN
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a scale bar in meters in the lower right corner of a parallel view."""
    px_per_m = float(np.linalg.norm(view.pixel_from_lidar[0, :3])) / style.scale
    width, height = view.width / style.scale, view.height / style.scale
    length_m = max((m for m in SCALE_BARS_M if m * px_per_m < 0.3 * min(width, height)), default=1)
    right, bottom = width - 10, height - 10
    left = right - length_m * px_per_m
    page = Page.over(image, style)
    page.fill(style.paper, (left - 6, bottom - 23, right + 6, bottom + 6))
    page.fill(style.ink, (left, bottom - 3, right, bottom))
    page.write(f"{length_m} m", (left + right) / 2, bottom - 12, size=13, anchor="mm")
    return page.image()


def mark_text(
    image: UInt8[np.ndarray, "height width 3"], lines: Sequence[str], style: Style = SCREEN
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw boxed lines of text in the upper left corner."""
    page = Page.over(image, style)
    for number, line in enumerate(lines):
        page.write_boxed(line, 8, 8 + 22 * number, size=13)
    return page.image()
