"""Where a frame is looked at from: the four views, and the panels of a row of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dataset.sample import Sample
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE
from utils.view import View, birds_eye, look_at

VIEWS = ("front", "driver", "bird", "side")
"""By a camera, from behind and above the vehicle, from straight above, from the right."""
WIDEST_FRONT = 2.2
"""Most width of a camera's panel beside others, in heights of the row."""
DRIVER_ASPECT = 1.5
"""Width of a panel from behind, or from the side, in heights of the row."""


class Panel(NamedTuple):
    """A view in the size of a picture of it.

    Attributes:
        name: One of ``VIEWS``.
        view: Where to look from.
        spare_rows: Rows above, and below, what the camera's picture shows.
        spare_columns: Columns on either side of it.
    """

    name: str
    view: View
    spare_rows: int = 0
    spare_columns: int = 0


class Stage(NamedTuple):
    """Where a frame is looked at from, and what stands there.

    Attributes:
        views: By name; of any size.
        ground_m: Height of the ground under the vehicle [m].
        length_m: Length of the grid [m].
        camera: Number of the camera that the front view is of; None: of none.
    """

    views: Mapping[str, View]
    ground_m: float
    length_m: float
    camera: int | None


def set_stage(sample: Sample, grid: VoxelGrid, ground_m: float, *, camera: int = 0) -> Stage:
    """Choose the views of a frame.

    Args:
        sample: The frame; without pictures the front view is that of a camera at the LiDAR.
        grid: Where its voxels are.
        ground_m: Height of the ground under the vehicle [m].
        camera: Number of the camera that the front view is of.

    Raises:
        ValueError: If the frame has pictures, but none of that number.
    """
    (near, right, _), (far, left, top) = grid.origin_m, grid.end_m
    length, center, middle = far - near, (near + far) / 2, (left + right) / 2
    shape = (1000, round(1000 / DRIVER_ASPECT))
    has_camera = sample.images is not None and sample.pixel_from_lidar is not None
    views = {
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
    return Stage(views, ground_m, length, camera if has_camera else None)


def panels_in_row(
    stage: Stage, names: Sequence[str], width: int, *, widest_front: float = WIDEST_FRONT
) -> list[Panel]:
    """Panels of one height that are together about ``width`` pixels wide.

    Args:
        stage: The views.
        names: Which of them, of ``VIEWS``; one may come several times.
        width: Of all panels together [px].
        widest_front: Most width of a camera's panel, in heights of the row; a wider picture gets
            spare rows.

    Raises:
        ValueError: If a name is none of a view, or there is no room for the panels.
    """
    unknown = [name for name in names if name not in VIEWS]
    if unknown or not names:
        raise ValueError(f"views are {', '.join(VIEWS)}; got {unknown or 'none'}")
    aspects = [
        min(stage.views[name].aspect, widest_front if name == "front" else np.inf) for name in names
    ]
    height = round(width / sum(aspects))
    if height < 16:
        raise ValueError(f"{len(names)} panels do not fit into {width} pixels: give a larger width")
    return [_panel(stage, name, round(aspect * height), height) for name, aspect in
            zip(names, aspects, strict=True)]  # fmt: skip


def panel_of_width(stage: Stage, name: str, width: int) -> Panel:
    """A panel with all of a view in it."""
    return _panel(stage, name, width, max(1, round(width / stage.views[name].aspect)))


def panel_in_box(stage: Stage, name: str, width: int, height: int) -> Panel:
    """A panel of exactly this size, with more of the world than the view shows on two sides."""
    view = stage.views[name]
    inner = min(width, round(height * view.aspect))
    view = view.resize(inner, max(1, min(height, round(inner / view.aspect))))
    spare_rows, spare_columns = (height - view.height) // 2, (width - view.width) // 2
    # As many on either side: an odd row or column more belongs to the view.
    view = view.resize(width - 2 * spare_columns, height - 2 * spare_rows)
    return Panel(name, view.extend(height, width=width), spare_rows, spare_columns)


def ground_height_m(labels: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid) -> float:
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


def _camera_view(sample: Sample, camera: int) -> View:
    assert sample.images is not None
    assert sample.pixel_from_lidar is not None
    count = len(sample.images)
    if not 0 <= camera < count:
        raise ValueError(f"frame {sample.stem} has {count} cameras, from 0 on; got {camera}")
    rows, columns = sample.images.shape[-2:]
    return View(sample.pixel_from_lidar[camera].double().cpu().numpy(), columns, rows)


def _panel(stage: Stage, name: str, width: int, height: int) -> Panel:
    view = stage.views[name]
    spare_rows = max(0, round((height - width / view.aspect) / 2)) if name == "front" else 0
    return Panel(name, view.resize(width, height - 2 * spare_rows).extend(height), spare_rows)
