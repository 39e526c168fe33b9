"""Draw the map of a branch: labels, depth or color."""

import cv2
import numpy as np
from jaxtyping import UInt8

from engine.pictures.branch_maps import COLOR, DEPTH, SEMANTIC, BranchMap
from engine.pictures.color_maps import TURBO
from engine.pictures.page import Style
from engine.pictures.panels import RgbImage
from utils.labels import FREE, IGNORE, LabelSet

BRANCHES = {
    "image": "Image",
    "LiDAR": "LiDAR volume",
    "camera": "Camera volume",
    "fused": "Fused volume",
    "Gaussians": "Gaussians",
}
KINDS = {SEMANTIC: "semantics", DEPTH: "depth", COLOR: "color"}
DOT_PX = 600
"""Points of a sparse depth map grow by one pixel per this many pixels of panel width."""


def map_title(branch_map: BranchMap) -> str:
    """Return the title of a map: its branch and its kind."""
    return f"{BRANCHES[branch_map.branch]}: {KINDS[branch_map.kind]}"


def draw_map(
    values: np.ndarray,
    kind: str,
    labels: LabelSet,
    size: tuple[int, int],
    *,
    far_m: float,
    style: Style,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a map in the colors of its kind; free or unknown pixels get the background color.

    Args:
        values: Labels, depth [m] or RGB.
        kind: "semantic", "depth" or "color".
        labels: Colors of labels.
        size: Width and height of the image [px].
        far_m: Depth of the far end of the color map [m].
        style: Colors of the page.

    Returns:
        RGB image.
    """
    width, height = size
    if kind == COLOR:
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    if kind == SEMANTIC:
        palette = labels.palette()
        palette[FREE], palette[IGNORE] = style.background, style.frame
        # Resized after coloring: borders become smooth without other classes in between.
        return _resize(palette[values], size)
    if (values > 0).mean() < 0.25:  # Sparse LiDAR depth: shrinking would make dots faint.
        dot = 1 + max(1, round(width / DOT_PX))
        values = _grow(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST), dot)
    is_known = values > 0
    index = np.rint(255 * (values / far_m).clip(0, 1)).astype(np.uint8)
    image = np.where(is_known[..., None], TURBO[index], np.array(style.background, np.uint8))
    return _resize(image, (width, height))


def _resize(image: RgbImage, size: tuple[int, int]) -> RgbImage:
    shrinks = size[0] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return cv2.resize(image, size, interpolation=method)


def _grow(depth_m: np.ndarray, side: int) -> np.ndarray:
    """Grow each depth to side × side pixels; where they overlap, the nearest wins."""
    far = np.where(depth_m > 0, depth_m, np.inf).astype(np.float32)
    kernel = np.ones((side, side), np.uint8)
    nearest = cv2.erode(far, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)
