"""LiDAR points on the camera images, to check calibration and pairing by eye."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.pictures.color_maps import TURBO
from engine.pictures.page import fit
from utils.geometry import project_points
from utils.view import Viewpoint

MIN_WIDTH = 1000
"""Minimum width of an image [px]; narrower ones are widened by an integer factor."""
NEAR_M, FAR_M = 2.0, 80.0
"""Camera depths at the ends of the color map, whose scale is logarithmic [m]."""


def draw_points_on_images(
    images: UInt8[Tensor, "N 3 H W"],
    pixel_from_lidar: Float[Tensor, "N 4 4"],
    points: Float[Tensor, "P F"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw points colored by depth on all images, stacked from top to bottom.

    Images have square pixels, as recorded, whatever the shape of the network's input.

    Args:
        images: RGB, 0–255.
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1), d the camera depth [m].
        points: x, y, z [m], and any other columns.
    """
    height, width = images.shape[-2:]
    shown_width = -(-MIN_WIDTH // width) * width
    drawn = []
    for image, matrix in zip(images, pixel_from_lidar, strict=True):
        aspect = Viewpoint(matrix.double().numpy(), width, height).aspect
        shown_height = max(1, round(shown_width / aspect))
        enlarged = fit(image.permute(1, 2, 0).numpy(), shown_width, shown_height)
        pixels, depth_m = project_points(matrix.double(), points[:, :3].double())
        scale = pixels.new_tensor([shown_width / width, shown_height / height])
        _draw_points(enlarged, scale * pixels, depth_m)
        drawn.append(enlarged)
    return np.concatenate(drawn)


def _draw_points(
    image: UInt8[np.ndarray, "height width 3"],
    pixels: Float[Tensor, "P 2"],
    depth_m: Float[Tensor, "P"],
) -> None:
    """Draw points into an image in place, 3×3 pixels each, near ones over far ones."""
    height, width = image.shape[:2]
    inside = (pixels >= 1) & (pixels < pixels.new_tensor([width - 1, height - 1]))
    shown = torch.nonzero(inside.all(-1) & (depth_m > 0))[:, 0]
    shown = shown[torch.argsort(depth_m[shown], descending=True)]
    column, row = pixels[shown].long().numpy().T
    share = np.log(depth_m[shown].numpy() / NEAR_M) / np.log(FAR_M / NEAR_M)
    # Near is red; the ends of the color map are too dark.
    color = TURBO[np.rint(235 - 205 * share.clip(0, 1)).astype(np.uint8)]
    down, right = np.mgrid[-1:2, -1:2].reshape(2, 1, 9)
    rows, columns = row[:, None] + down, column[:, None] + right
    # Where points overlap, the last assignment wins.
    image[rows.ravel(), columns.ravel()] = color.repeat(9, axis=0)
