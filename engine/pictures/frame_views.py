"""The four views of a frame, and their panels."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dataset.sample import Sample
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE
from utils.view import Viewpoint, birds_eye, look_at

VIEWS = ("front", "driver", "bird", "side")
"""From a camera, from behind and above the vehicle, straight down, from the right."""
MAX_FRONT_ASPECT = 2.2
"""Maximum aspect ratio of a camera panel beside other panels."""
DRIVER_ASPECT = 1.5
"""Aspect ratio of a panel from behind or from the side."""


class Panel(NamedTuple):
    """A view at the size of its panel.

    Attributes:
        name: One of ``VIEWS``.
        view: Viewpoint at the panel's resolution.
        spare_rows: Rows above and below the camera's image.
        spare_columns: Columns to its left and right.
    """

    name: str
    view: Viewpoint
    spare_rows: int = 0
    spare_columns: int = 0


class FrameViews(NamedTuple):
    """Viewpoints of a frame, and the dimensions that scale its marks.

    Attributes:
        viewpoints: Viewpoints by name, at any resolution.
        ground_m: Height of the ground under the vehicle [m].
        length_m: Length of the grid [m].
        camera: Index of the camera of the front view; None without a camera.
    """

    viewpoints: Mapping[str, Viewpoint]
    ground_m: float
    length_m: float
    camera: int | None


def choose_views(
    sample: Sample, grid: VoxelGrid, ground_m: float, *, camera: int = 0
) -> FrameViews:
    """Choose the viewpoints of a frame.

    Args:
        sample: The frame; without images the front view is from the LiDAR.
        grid: Its grid.
        ground_m: Height of the ground under the vehicle [m].
        camera: Index of the camera of the front view.

    Raises:
        ValueError: If the frame has images, but not of this camera.
    """
    (near, right, _), (far, left, top) = grid.origin_m, grid.end_m
    length, center, middle = far - near, (near + far) / 2, (left + right) / 2
    shape = (1000, round(1000 / DRIVER_ASPECT))
    has_camera = sample.images is not None and sample.pixel_from_lidar is not None
    viewpoints = {
        "front": _camera_view(sample, camera)
        if has_camera
        else look_at((0, 0, 0), (length / 2, 0, -2), size=(1600, 1000), fov_deg=70),
        "driver": look_at(
            (near - 0.33 * length, middle, ground_m + 0.28 * length),
            (near + 0.27 * length, middle, ground_m),
            size=shape,
            fov_deg=58,
        ),
        "bird": birds_eye((min(near, -0.09 * length), left), (far, right), height=1000, top_m=top),
        "side": look_at(
            (center, right - 0.7 * length, ground_m + 0.85 * length),
            (center, middle, ground_m),
            size=shape,
            fov_deg=52,
        ),
    }
    return FrameViews(viewpoints, ground_m, length, camera if has_camera else None)


def panels_in_row(
    views: FrameViews, names: Sequence[str], width: int, *, max_aspect: float = MAX_FRONT_ASPECT
) -> list[Panel]:
    """Return panels of equal height, about ``width`` pixels wide in total.

    Args:
        views: The views.
        names: Names of the views to show, from ``VIEWS``; may repeat.
        width: Total width of the panels [px].
        max_aspect: Maximum aspect ratio of a camera panel; a wider image gets spare rows.

    Raises:
        ValueError: If a view is unknown or the panels do not fit.
    """
    unknown = [name for name in names if name not in VIEWS]
    if unknown or not names:
        raise ValueError(f"views must be among {', '.join(VIEWS)}; got {unknown or 'none'}")
    aspects = [
        min(views.viewpoints[name].aspect, max_aspect if name == "front" else np.inf)
        for name in names
    ]
    height = round(width / sum(aspects))
    if height < 16:
        raise ValueError(f"{len(names)} panels do not fit into {width} pixels: give a larger width")
    return [_panel(views, name, round(aspect * height), height) for name, aspect in
            zip(names, aspects, strict=True)]  # fmt: skip


def panel_of_width(views: FrameViews, name: str, width: int) -> Panel:
    """Return a panel of this width that shows the whole view."""
    return _panel(views, name, width, max(1, round(width / views.viewpoints[name].aspect)))


def panel_in_box(views: FrameViews, name: str, width: int, height: int) -> Panel:
    """Return a panel of exactly this size; spare space is split between two opposite sides."""
    view = views.viewpoints[name]
    inner = min(width, round(height * view.aspect))
    view = view.resize(inner, max(1, min(height, round(inner / view.aspect))))
    spare_rows, spare_columns = (height - view.height) // 2, (width - view.width) // 2
    # The spare space is equal on both sides: an odd row or column goes to the view.
    view = view.resize(width - 2 * spare_columns, height - 2 * spare_rows)
    return Panel(name, view.extend(height, width=width), spare_rows, spare_columns)


def ground_height_m(labels: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid) -> float:
    """Estimate the height of the ground [m] from the lowest voxels in front of the vehicle."""
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


def _camera_view(sample: Sample, camera: int) -> Viewpoint:
    assert sample.images is not None
    assert sample.pixel_from_lidar is not None
    count = len(sample.images)
    if not 0 <= camera < count:
        raise ValueError(f"frame {sample.stem} has {count} cameras, numbered from 0; got {camera}")
    rows, columns = sample.images.shape[-2:]
    return Viewpoint(sample.pixel_from_lidar[camera].double().cpu().numpy(), columns, rows)


def _panel(views: FrameViews, name: str, width: int, height: int) -> Panel:
    view = views.viewpoints[name]
    spare_rows = max(0, round((height - width / view.aspect) / 2)) if name == "front" else 0
    return Panel(name, view.resize(width, height - 2 * spare_rows).extend(height), spare_rows)
