"""Figure of a corruption: image and bird's-eye view of a frame, clean and at each severity."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dataset.sample import Sample
from engine.pictures.page import fit
from engine.pictures.plots import (
    FAINT_COLOR,
    FRAME_COLOR,
    SMALL_PT,
    new_figure,
    write_heading,
    write_title,
)
from engine.pictures.points_on_images import draw_points_on_images
from utils.geometry import VoxelGrid

IMAGE_WIDTH = 640
"""Smallest width of an image in the figure [px]."""


def corruption_figure(
    heading: str, samples: Mapping[str, Sample], grid: VoxelGrid, *, camera: int, has_points: bool
) -> Figure:
    """Draw a column per sample: its image, and its points on the image and from above.

    Args:
        heading: Heading of the figure.
        samples: The samples by title, the clean one first.
        grid: Its extent is that of the view from above.
        camera: Number of the camera.
        has_points: Whether to draw points.
    """
    figure = new_figure(3.6 * len(samples), 6.8 if has_points else 3.1)
    write_heading(figure, heading)
    ratios = (1, 1.5) if has_points else (1,)
    panels = figure.subplots(len(ratios), len(samples), squeeze=False, height_ratios=ratios)
    for (title, sample), column in zip(samples.items(), panels.T, strict=True):
        write_title(column[0], title)
        column[0].set_axis_off()
        column[0].imshow(_image(sample, camera, projects=has_points))
        if has_points and sample.points is not None:
            _draw_points(column[1], sample.points, grid)
    return figure


def _image(sample: Sample, camera: int, *, projects: bool) -> UInt8[np.ndarray, "height width 3"]:
    assert sample.images is not None, "by the caller"
    image = sample.images[camera]
    if projects and sample.points is not None and sample.pixel_from_lidar is not None:
        matrix = sample.pixel_from_lidar[camera]
        return draw_points_on_images(image[None], matrix[None], sample.points)
    height, width = image.shape[1:]
    scale = -(-IMAGE_WIDTH // width)
    return fit(image.permute(1, 2, 0).numpy(), scale * width, scale * height)


def _draw_points(axes: Axes, points: Float[torch.Tensor, "P F"], grid: VoxelGrid) -> None:
    """Draw points from above, x up and y to the left, colored by height."""
    (x, y, z), (x_end, y_end, z_end) = grid.origin_m, grid.end_m
    axes.set_aspect("equal")
    axes.set_xlim(y_end, y)
    axes.set_ylim(min(x, 0), x_end)
    axes.tick_params(length=0, labelsize=SMALL_PT, labelcolor=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set_color(FRAME_COLOR)
    axes.scatter(
        points[:, 1], points[:, 0], s=0.25, c=points[:, 2], cmap="turbo", vmin=z,
        vmax=0.5 * (z + z_end), linewidths=0, rasterized=True,
    )  # fmt: skip
    axes.set_xlabel(f"{len(points):,} points", fontsize=SMALL_PT, color=FAINT_COLOR)
