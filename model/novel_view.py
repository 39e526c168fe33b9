"""Depth of a predicted volume in cameras anywhere, by volume rendering or by Gaussians.

A depth map has a value at each node of a lattice that spans the image from corner to corner, so
bilinear sampling with ``align_corners=True`` is defined at every pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from model.gs_refinement import GSRefinement
from model.render.rays import Rays, pixel_centers, pixel_rays
from model.render.splat import MIN_ALPHA, splat
from model.render.volume import Rendering, render_volume, uniform_depths
from utils.geometry import VoxelGrid
from utils.labels import FREE

RENDERERS = ("volume", "gaussians")
RAW, MAX = "raw", "max"
DEPTH_TARGETS = (RAW, MAX)
MOST_GAUSSIANS = 40_000
"""Maximum number of Gaussians a frame, for a network without GSRefinement."""


@dataclass(frozen=True)
class ViewOptions:
    """How depth is rendered.

    Attributes:
        renderer: "volume": rays through the density of ``occupancy_density``; "gaussians":
            GSRefinement's, or untrained ones for a network without it.
        depth_target: Depth of a ray: "raw" for its expected depth, "max" for the depth at which it
            most likely ends, with volume rendering only.
        size: Rows and columns of the lattice.
        near_m: Camera depth where rays begin [m].
        far_m: Camera depth where they end [m], and the depth of rays that hit nothing.
        rays_at_once: Rays rendered at a time; 0: all of an image.

    Raises:
        ValueError: If an option is unknown or out of its range, or Gaussians are asked for "max".
    """

    renderer: str = "volume"
    depth_target: str = RAW
    size: tuple[int, int] = (96, 200)
    near_m: float = 0.1
    far_m: float = 80.0
    rays_at_once: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.renderer not in RENDERERS or self.depth_target not in DEPTH_TARGETS:
            raise ValueError(
                f"depth is rendered by one of {RENDERERS} as one of {DEPTH_TARGETS}, got "
                f"'{self.renderer}' and '{self.depth_target}'"
            )
        if self.renderer == "gaussians" and self.depth_target == MAX:
            raise ValueError(
                "depth at the largest weight (max) needs volume rendering; Gaussians give the "
                "expected one (raw) only"
            )
        if min(self.size) < 2 or self.rays_at_once < 0:
            raise ValueError(
                "a depth map needs at least 2×2 rays, and rays at once >= 0 (0: all), got "
                f"{self.size[0]}×{self.size[1]} and {self.rays_at_once}"
            )

    @property
    def summary(self) -> str:
        """The options in words, for captions."""
        how = {
            ("volume", RAW): "Expected depth by volume rendering of P(occupied)",
            ("volume", MAX): "Depth of the likeliest end by volume rendering of P(occupied)",
            ("gaussians", RAW): "Mean depth of Gaussians at the most occupied voxels",
        }[self.renderer, self.depth_target]
        return f"{how}, {self.size[0]}×{self.size[1]} rays an image, read bilinearly."

    def to_json(self) -> dict[str, Any]:
        """The options that change the errors."""
        return {
            "render": self.renderer,
            "depth_tgt": self.depth_target,
            "num_rays": list(self.size),
        }


def occupancy_density(
    log_free: Float[Tensor, "B X Y Z"], voxel_m: float
) -> Float[Tensor, "B 1 X Y Z"]:
    """Absorption [1/m] with which a ray ends in a voxel with probability P(occupied).

    −log(1 − P(occupied)) / voxel_m: across one voxel, 1 − exp(−density · voxel_m) = P(occupied).

    Args:
        log_free: log(1 − P(occupied)) of each voxel, which logits give without rounding to 0.
        voxel_m: Edge of a voxel [m].
    """
    return -log_free[:, None] / voxel_m


def log_free_of(logits: Float[Tensor, "B classes X Y Z"]) -> Float[Tensor, "B X Y Z"]:
    """Log probability that each voxel is free."""
    return logits[:, FREE] - logits.logsumexp(dim=1)


def log_occupied_of(logits: Float[Tensor, "B classes X Y Z"]) -> Float[Tensor, "B X Y Z"]:
    """Log probability that each voxel is not free, without rounding to log 0."""
    occupied = torch.cat([logits[:, :FREE], logits[:, FREE + 1 :]], dim=1)
    return occupied.logsumexp(dim=1) - logits.logsumexp(dim=1)


def voxel_edges(
    grid: VoxelGrid, near_m: float, far_m: float, device: torch.device | str
) -> Float[Tensor, "edges"]:
    """Edges of ray segments of at most half a voxel of camera depth [m]."""
    count = ceil(2 * (far_m - near_m) / grid.voxel_m)
    return uniform_depths(near_m, far_m, count, device=device)


def lattice_from_pixel(image_size: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, "4 4"]:
    """From image pixels to a lattice whose first and last nodes are the image's corners.

    Args:
        image_size: Height and width of the image [px].
        size: Rows and columns of the lattice.
    """
    (height, width), (rows, columns) = image_size, size
    matrix = torch.diag(torch.tensor([(columns - 1) / width, (rows - 1) / height, 1.0, 1.0]))
    matrix[:2, 2] = 0.5
    return matrix


def sample_depth(
    depth_m: Float[Tensor, "rows columns"],
    pixels: Float[Tensor, "P 2"],
    image_size: tuple[int, int],
) -> Float[Tensor, "P"]:
    """Rendered depth at pixels (u, v) of the image, bilinear; outside, that of the border.

    Args:
        depth_m: Depth at the nodes of the lattice.
        pixels: Where to sample.
        image_size: Height and width of the image [px].
    """
    height, width = image_size
    where = 2.0 * pixels / pixels.new_tensor([width, height]) - 1.0
    sampled = torch.nn.functional.grid_sample(
        depth_m[None, None], where[None, None], padding_mode="border", align_corners=True
    )
    return sampled.flatten()


def labeled_centers(
    depth_m: Float[Tensor, "H W"],
) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P"]]:
    """Centers (u, v) of the pixels of a depth map that have a label, and the labels [m]."""
    row, column = torch.nonzero(depth_m > 0, as_tuple=True)
    return torch.stack((column, row), dim=-1) + 0.5, depth_m[row, column]


@torch.no_grad()
def volume_depth(
    log_free: Float[Tensor, "B X Y Z"],
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    options: ViewOptions,
) -> Float[Tensor, "B N rows columns"]:
    """Depth by volume rendering of the occupancy's density [m].

    Args:
        log_free: Log probability that each voxel is free.
        grid: Grid of the voxels.
        pixel_from_lidar: Cameras anywhere.
        image_size: Height and width of their images [px].
        options: How depth is rendered.
    """
    density = occupancy_density(log_free.float(), grid.voxel_m)
    edges_m = voxel_edges(grid, options.near_m, options.far_m, density.device)
    projections = lattice_from_pixel(image_size, options.size).to(density.device)
    projections = projections @ pixel_from_lidar.float()
    pixels = pixel_centers(*options.size, device=density.device)
    read = _READERS[options.depth_target]
    batch, cameras = pixel_from_lidar.shape[:2]
    maps = []
    for frame, camera in product(range(batch), range(cameras)):
        rays = pixel_rays(projections[frame, camera][None], pixels[None])
        one, number = density[frame][None], options.rays_at_once or len(pixels)
        parts = zip(*(part.split(number, dim=1) for part in rays), strict=True)
        renderings = (
            render_volume(one, None, grid, Rays(*part), edges_m, nearest=True) for part in parts
        )
        depths = [read(rendering, edges_m) for rendering in renderings]
        maps.append(torch.cat(depths, dim=1))
    return torch.stack(maps).view(batch, cameras, *options.size)


def _expected(rendering: Rendering, edges_m: Float[Tensor, "edges"]) -> Float[Tensor, "B R"]:
    del edges_m
    return rendering.depth_m


def _likeliest(rendering: Rendering, edges_m: Float[Tensor, "edges"]) -> Float[Tensor, "B R"]:
    """Middle of the segment with the largest weight; the far end where none is as likely."""
    ends_m = torch.cat([0.5 * (edges_m[1:] + edges_m[:-1]), edges_m[-1:]])
    passes = 1.0 - rendering.opacity[..., None]
    return ends_m[torch.cat([rendering.weights, passes], dim=-1).argmax(dim=-1)]


_READERS: dict[str, Callable[[Rendering, Tensor], Tensor]] = {RAW: _expected, MAX: _likeliest}


@torch.no_grad()
def gaussian_depth(
    refinement: GSRefinement | None,
    decoded: Float[Tensor, "B C x y z"],
    logits: Float[Tensor, "B classes X Y Z"],
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    options: ViewOptions,
) -> Float[Tensor, "B N rows columns"]:
    """Mean depth of the Gaussians by blending weight; the far end where there are none [m].

    Args:
        refinement: Gives the Gaussians; None: untrained ones, balls at the voxels' centers.
        decoded: The decoded volume.
        logits: Class scores.
        grid: Grid of the logits.
        pixel_from_lidar: Cameras anywhere.
        image_size: Height and width of their images [px].
        options: Size of the depth maps and the far end.
    """
    projections = lattice_from_pixel(image_size, options.size).to(logits.device)
    projections = projections @ pixel_from_lidar.float()
    place = refinement or untrained_refinement(decoded, logits, grid)
    gaussians = place(decoded, logits, projections, options.size)
    rendered = splat(gaussians, projections, *options.size)
    return rendered.depth_m.where(rendered.opacity > 0, options.far_m)


def untrained_refinement(
    decoded: Float[Tensor, "B C x y z"], logits: Float[Tensor, "B classes X Y Z"], grid: VoxelGrid
) -> GSRefinement:
    """Gaussians for a network without GSRefinement, as many as are visible."""
    visible = (1 - log_free_of(logits).exp() >= MIN_ALPHA).flatten(1).sum(dim=1)
    number = min(max(int(visible.max()), 1), MOST_GAUSSIANS)
    coarsening = grid.shape[0] // decoded.shape[2]
    return GSRefinement(decoded.shape[1], grid, coarsening, number).to(logits.device)


def render_depth(
    network: Any,
    outputs: Any,
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    options: ViewOptions,
) -> Float[Tensor, "B N rows columns"]:
    """Depth of a network's prediction, by the renderer of the options [m].

    Args:
        network: An ``UnsOcc``.
        outputs: Outputs of its ``infer``.
        pixel_from_lidar: Cameras anywhere.
        image_size: Height and width of their images [px].
        options: How depth is rendered.
    """
    view = (network.grid, pixel_from_lidar, image_size, options)
    if options.renderer == "gaussians":
        return gaussian_depth(network.refinement, outputs.decoded, outputs.logits, *view)
    return volume_depth(log_free_of(outputs.logits), *view)
