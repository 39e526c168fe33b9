"""Draw the framework figure of README.md: assets/framework.png.

    python docs/draw_framework.py

The scene in it is a toy: a road between two walls with a truck, ray cast once for all thumbnails.
The figure has a light background of its own, so that it reads the same on a dark page.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from utils.labels import UNSCENES3D  # noqa: E402

WIDTH, HEIGHT = 1600, 900  # figure units; shown at half that in the README
INK, MUTED, PAPER = "#1f2933", "#52606d", "#ffffff"


class Color(NamedTuple):
    """Edge and fill of the boxes of one kind."""

    edge: str
    fill: str


CAMERA = Color("#c2570c", "#fdebd8")
LIDAR = Color("#1f6fb2", "#dcecf9")
FUSED = Color("#6b3fa0", "#eae2f5")
LABEL = Color("#2f855a", "#dcf1e4")

# (low corner, high corner, class) of each box of the toy scene [m]: x forward, y left, z up.
SCENE = (
    ((0, -60, -3), (150, 60, -2), "driveable_surface"),
    ((0, 11, -2), (150, 60, 7), "terrain"),
    ((20, -60, -2), (150, -13, 5), "terrain"),
    ((75, -60, -2), (150, 60, 11), "terrain"),
    ((27, -9.5, -2), (36, -4, 3.4), "widebody"),
    ((44, 4.5, -2), (50, 8.5, 1.6), "excavator"),
    ((17, 5.6, -2), (17.8, 6.4, 0.3), "pedestrian"),
)


class View(NamedTuple):
    """What a pinhole camera sees of the toy scene; 0 and infinity where it sees the sky."""

    classes: np.ndarray
    depth_m: np.ndarray


def color_of(class_name: str) -> np.ndarray:
    """RGB of a class in 0–1."""
    return np.asarray(UNSCENES3D.colors[UNSCENES3D.index(class_name)]) / 255


def look(rows: int = 100, columns: int = 170) -> View:
    """Intersect the ray of each pixel with all boxes of the scene."""
    left = (0.5 - (np.arange(columns) + 0.5) / columns) * 1.5
    up = (0.45 - (np.arange(rows) + 0.5) / rows) * 1.5 * rows / columns
    rays = np.stack(np.broadcast_arrays(1.0, left[None], up[:, None]), axis=-1)
    classes, depth_m = np.zeros((rows, columns), int), np.full((rows, columns), np.inf)
    for low, high, name in SCENE:
        ends = np.stack([np.asarray(low) / rays, np.asarray(high) / rays])
        enter, leave = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
        is_hit = (enter < leave) & (leave > 0) & (np.maximum(enter, 0.1) < depth_m)
        depth_m[is_hit], classes[is_hit] = np.maximum(enter, 0.1)[is_hit], UNSCENES3D.index(name)
    return View(classes, depth_m)


def photo(view: View) -> np.ndarray:
    """A camera image of the scene: sand, haze and a blue sky."""
    rows, columns = view.classes.shape
    noise = np.random.default_rng(0).normal(0, 0.018, (rows, columns, 1))
    tints = {"driveable_surface": (0.80, 0.72, 0.58), "terrain": (0.60, 0.51, 0.40)}
    image = np.empty((rows, columns, 3))
    image[:] = np.linspace([0.44, 0.63, 0.85], [0.88, 0.91, 0.92], rows)[:, None]
    for label in np.unique(view.classes[view.classes > 0]):
        name = UNSCENES3D.class_names[label]
        tint = tints.get(name, (0.93, 0.66, 0.15))
        image[view.classes == label] = tint
    haze = np.where(view.classes > 0, 1 - np.exp(-view.depth_m / 160), 0)[..., None]
    return np.clip(image * (1 - haze) + np.array([0.9, 0.9, 0.88]) * haze + noise, 0, 1)


def semantic_map(view: View) -> np.ndarray:
    """Class colors; white where there is no label."""
    palette = UNSCENES3D.palette().astype(float) / 255
    palette[0] = 1.0
    return palette[view.classes]


def depth_map(view: View, *, sparse: bool = False) -> np.ndarray:
    """Depth in colors on a dark ground; sparse: only along the scan lines of a LiDAR."""
    near = 1 - np.log(np.clip(view.depth_m, 6, 110) / 6) / np.log(110 / 6)
    image = mpl.colormaps["turbo"](0.08 + 0.84 * near)[..., :3]
    is_seen = view.classes > 0
    if sparse:
        rows, columns = np.indices(view.classes.shape)
        is_seen &= (rows % 5 < 2) & (columns % 4 < 3)
    image[~is_seen] = (0.10, 0.12, 0.20)
    return image


def box(
    ax: Axes, center: tuple[float, float], size: tuple[float, float], text: str, color: Color
) -> None:
    """A box with a bold first line and, below, a muted one."""
    (x, y), (width, height) = center, size
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=10",
            facecolor=color.fill, edgecolor=color.edge, linewidth=1.8, zorder=3,
        )
    )  # fmt: skip
    title, _, detail = text.partition("|")
    up = 0 if not detail else 14 + 12 * detail.count("\n")
    ax.text(x, y - up, title, ha="center", va="center", fontsize=15.5, weight="bold",
        color=INK, zorder=4, linespacing=1.1)  # fmt: skip
    if detail:
        down = 15 + 12 * title.count("\n")
        ax.text(x, y + down, detail, ha="center", va="center", fontsize=14, color=MUTED,
            zorder=4, linespacing=1.15)  # fmt: skip


def band(ax: Axes, low: tuple[float, float], high: tuple[float, float], color: Color) -> None:
    """A shaded region behind a branch."""
    ax.add_patch(
        FancyBboxPatch(
            low, high[0] - low[0], high[1] - low[1], boxstyle="round,pad=0,rounding_size=16",
            facecolor=color.fill, edgecolor="none", alpha=0.42, zorder=0,
        )
    )  # fmt: skip


def thumbnail(
    ax: Axes, image: np.ndarray, center: tuple[float, float], color: str, *, width: float = 130
) -> None:
    """An image with a border, over what was drawn before it."""
    level = 3 + len(ax.images)
    (x, y), height = center, width * image.shape[0] / image.shape[1]
    extent = (x - width / 2, x + width / 2, y + height / 2, y - height / 2)
    ax.imshow(image, extent=extent, interpolation="nearest", zorder=level, aspect="auto")
    ax.add_patch(
        Rectangle((extent[0], extent[3]), width, height, fill=False, edgecolor=color,
            linewidth=2, zorder=level)
    )  # fmt: skip


def arrow(
    ax: Axes, points: Sequence[tuple[float, float]], color: str = INK, style: str = "-"
) -> None:
    """A line through points that ends in an arrow."""
    for start, end in pairwise(points[:-1]):
        ax.plot(*zip(start, end, strict=True), style, color=color, linewidth=2.2, zorder=2,
            solid_capstyle="round")  # fmt: skip
    ax.add_patch(
        FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>,head_length=9,head_width=5", color=color,
            linestyle=style, linewidth=2.2, shrinkA=0, shrinkB=0, zorder=2,
        )
    )  # fmt: skip


def voxels(ax: Axes, grid: np.ndarray, center: tuple[float, float], edge: float, line: str) -> None:
    """Draw filled voxels (X, Y, Z, RGBA) in isometric projection, far ones first."""
    right, back, up = np.array([0.87, 0.5]), np.array([-0.87, 0.5]), np.array([0.0, -1.0])
    shape = np.array(grid.shape[:3])
    middle = (right * shape[0] + back * shape[1] + up * shape[2]) / 2
    for x, y, z in sorted(np.argwhere(grid[..., 3] > 0).tolist(), key=sum):
        corner = right * x + back * y + up * z - middle
        rgb = grid[x, y, z, :3]
        faces = (
            ((up, up + right, up + right + back, up + back), 1.0),
            ((back, back + right, back + right + up, back + up), 0.86),
            ((right, right + back, right + back + up, right + up), 0.72),
        )
        for offsets, light in faces:
            outline = [np.asarray(center) + edge * (corner + offset) for offset in offsets]
            ax.add_patch(
                Polygon(outline, facecolor=rgb * light, edgecolor=line, linewidth=0.6, zorder=3)
            )


def feature_volume(color: Color, seed: int) -> np.ndarray:
    """A cube of voxels in shades of one color."""
    shade = np.random.default_rng(seed).choice([0.25, 0.5, 0.75, 1.0], (4, 4, 4, 1))
    edge, fill = (np.array(mpl.colors.to_rgb(name)) for name in color)
    tones = fill + (edge - fill) * shade * 0.62
    return np.concatenate([tones, np.ones_like(shade)], axis=-1)


def occupancy() -> np.ndarray:
    """The toy scene in voxels: a road, a wall and a truck."""
    grid = np.zeros((9, 9, 5, 4))
    named = (
        ((slice(0, 9), slice(0, 9), slice(0, 1)), "driveable_surface"),
        ((slice(0, 2), slice(0, 9), slice(0, 4)), "terrain"),
        ((slice(2, 9), slice(0, 1), slice(0, 3)), "terrain"),
        ((slice(4, 6), slice(3, 6), slice(1, 3)), "widebody"),
        ((slice(7, 8), slice(6, 7), slice(1, 3)), "pedestrian"),
        ((slice(3, 4), slice(7, 9), slice(1, 2)), "excavator"),
    )
    for cells, name in named:
        grid[cells] = (*color_of(name), 1)
    return grid


def gaussians(ax: Axes, center: tuple[float, float]) -> None:
    """Some Gaussians, drawn as ellipses in class colors."""
    random = np.random.default_rng(3)
    names = (
        "driveable_surface",
        "terrain",
        "widebody",
        "driveable_surface",
        "terrain",
        "excavator",
    )
    for index in range(18):
        x, y = random.uniform(-92, 92), random.uniform(-38, 38)
        size = random.uniform(22, 46)
        ax.add_patch(
            Ellipse((center[0] + x, center[1] + y), size, size * random.uniform(0.4, 0.8),
                angle=random.uniform(0, 180), facecolor=color_of(names[index % len(names)]),
                alpha=0.55, edgecolor="white", linewidth=0.8, zorder=3)
        )  # fmt: skip


def note(ax: Axes, x: float, y: float, text: str, color: str = MUTED, size: float = 15) -> None:
    """Small text."""
    ax.text(x, y, text, ha="center", va="center", fontsize=size, color=color, zorder=5,
        linespacing=1.15)  # fmt: skip


def draw_inference(ax: Axes, view: View) -> None:
    """The upper half: from the sensors to the occupancy."""
    band(ax, (24, 24), (872, 232), LIDAR)
    band(ax, (24, 262), (872, 474), CAMERA)
    band(ax, (890, 24), (1576, 474), FUSED)
    for y, name, color in ((46, "LiDAR branch", LIDAR), (284, "Camera branch", CAMERA)):
        ax.text(42, y, name, fontsize=15.5, weight="bold", color=color.edge, va="center")
    draw_branch(ax, 132, depth_map(view, sparse=True), ("points", "LiDAR volume"), LIDAR)
    draw_branch(ax, 360, photo(view), ("images", "camera volume"), CAMERA)
    box(ax, (345, 132), (206, 92), "Voxelize|mean, covariance", LIDAR)
    box(ax, (585, 132), (206, 92), "LiDAR encoder|sparse 3D conv", LIDAR)
    box(ax, (345, 360), (206, 92), "Image encoder|ResNet + FPN", CAMERA)
    box(ax, (585, 360), (206, 92), "Lift|depth × context", CAMERA)
    middle = 246
    box(ax, (1003, middle), (186, 108), "RenderFusion|masks, gates", FUSED)
    box(ax, (1184, middle), (122, 108), "Decoder|3D U-Net", FUSED)
    box(ax, (1338, middle), (132, 108), "Head|0.3 m logits", FUSED)
    voxels(ax, occupancy(), (1494, middle), 8.6, "#33333366")
    note(ax, 1494, middle + 80, "occupancy")
    arrow(ax, [(1098, middle), (1121, middle)])
    arrow(ax, [(1247, middle), (1270, middle)])
    arrow(ax, [(1406, middle), (1426, middle)])
    arrow(ax, [(842, 132), (1003, 132), (1003, 190)], LIDAR.edge)
    arrow(ax, [(842, 360), (960, 360), (960, 302)], CAMERA.edge)
    arrow(ax, [(585, 84), (585, 48), (1338, 48), (1338, 190)], LIDAR.edge)
    arrow(ax, [(625, 408), (625, 456), (1372, 456), (1372, 302)], CAMERA.edge)
    note(ax, 1176, 72, "point evidence at 0.3 m", LIDAR.edge)
    note(ax, 1156, 432, "image evidence at 0.3 m", CAMERA.edge)


def draw_branch(
    ax: Axes, y: float, image: np.ndarray, names: tuple[str, str], color: Color
) -> None:
    """The input and the volume of one sensor, and the arrows between them."""
    thumbnail(ax, image, (127, y + 10), color.edge, width=170)
    note(ax, 127, y + 76, names[0])
    voxels(ax, feature_volume(color, len(names[1])), (782, y), 15, color.edge)
    note(ax, 782, y + 76, names[1])
    for start, end in ((213, 241), (449, 481), (689, 726)):
        arrow(ax, [(start, y), (end, y)], color.edge)


def draw_training(ax: Axes, view: View) -> None:
    """The lower half: what is rendered in training, and what supervises it."""
    ax.add_patch(
        FancyBboxPatch(
            (24, 506), 1552, 370, boxstyle="round,pad=0,rounding_size=16", facecolor="#f5f7fa",
            edgecolor="#9aa5b1", linewidth=1.6, linestyle=(0, (5, 4)), zorder=-1,
        )
    )  # fmt: skip
    semantic, depth, y = semantic_map(view), depth_map(view), 604
    for x, image, name, color in (
        (498, depth, "image depth", CAMERA),
        (672, semantic, "image semantics", CAMERA),
        (896, depth, "rendered depth", CAMERA),
        (1100, semantic, "rendered semantics", LIDAR),
    ):
        thumbnail(ax, image, (x, y), color.edge)
        note(ax, x, y + 56, name, color.edge)
    gaussians(ax, (1310, y - 2))
    note(ax, 1310, y + 56, "GSRefinement", FUSED.edge)
    for x, start in ((585, 408), (1003, 302), (1310, 302)):
        arrow(ax, [(x, start), (x, 546)], MUTED, "--")
    ax.add_patch(
        FancyArrowPatch((970, y), (1026, y), color=FUSED.edge, linewidth=2.2,
            arrowstyle="<|-|>,head_length=8,head_width=4.5", shrinkA=0, shrinkB=0)
    )  # fmt: skip
    note(ax, 998, y - 20, "align", FUSED.edge)
    draw_supervision(ax, view, y + 74)


def draw_supervision(ax: Axes, view: View, top: float) -> None:
    """The bottom row: what teaches whom, with arrows that end below ``top``."""
    y = 790
    thumbnail(ax, depth_map(view, sparse=True), (498, y), LIDAR.edge)
    note(ax, 498, y + 57, "LiDAR depth", LIDAR.edge)
    thumbnail(ax, semantic_map(view), (1092, y - 5), LABEL.edge)
    thumbnail(ax, depth_map(view), (1108, y + 5), LABEL.edge)
    note(ax, 1100, y + 62, "2D maps of the label", LABEL.edge)
    voxels(ax, occupancy(), (1494, y - 4), 8.6, "#33333366")
    note(ax, 1482, y + 70, "occupancy label", LABEL.edge)
    arrow(ax, [(498, y - 39), (498, top)], LIDAR.edge)
    arrow(ax, [(498, 728), (896, 728), (896, top)], LIDAR.edge)
    for x in (672, 1100, 1310):
        arrow(ax, [(1100, y - 44), (1100, 708), (x, 708), (x, top)], LABEL.edge)
    arrow(ax, [(1422, y), (1180, y)], LABEL.edge)
    note(ax, 1303, y - 22, "first hit of each ray", LABEL.edge)
    arrow(ax, [(1494, y - 84), (1494, 348)], LABEL.edge)
    note(ax, 1424, 490, "voxel losses", LABEL.edge)
    draw_legend(ax)


def draw_legend(ax: Axes) -> None:
    """What the lines mean."""
    ax.text(46, 540, "Training supervision", fontsize=15.5, weight="bold", color=INK, va="center")
    rows = (
        ("2D maps to supervise", MUTED, "--"),
        ("supervision by LiDAR", LIDAR.edge, "-"),
        ("supervision by the label", LABEL.edge, "-"),
    )
    ax.text(46, 578, "off at inference", fontsize=15, color=MUTED, va="center")
    for y, (text, color, style) in zip((650, 690, 730), rows, strict=True):
        arrow(ax, [(46, y), (104, y)], color, style)
        ax.text(118, y, text, fontsize=15, color=MUTED, va="center")


def draw() -> Figure:
    """The whole figure."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor=PAPER)
    ax = figure.add_axes((0, 0, 1, 1))
    view = look()
    draw_inference(ax, view)
    draw_training(ax, view)
    ax.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    ax.axis("off")
    return figure


def write(path: Path) -> None:
    """Write the figure, the same bytes on every run with the same matplotlib."""
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        draw().savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    write(REPOSITORY / "assets" / "framework.png")
