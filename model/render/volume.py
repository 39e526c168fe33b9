"""Volume rendering of dense grids: the project's only ray compositing.

A ray is cut into segments; density σ [1/m] absorbs along the metric length δ of each:
α = 1 − exp(−σδ), and a segment's weight is the probability that the ray ends in it,
w_i = α_i · Π_{j<i} (1 − α_j). Everything rendered is an expectation over those weights.

Source: Max, "Optical models for direct volume rendering", 1995; Mildenhall et al., "NeRF", 2020.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from model.render.rays import Rays
from utils.geometry import VoxelGrid


class Rendering(NamedTuple):
    """What rays see.

    Attributes:
        depth_m: Expected camera depth; rays that pass through count with the far end [m].
        opacity: Probability that the ray ends inside the volume.
        weights: Probability that it ends in each segment; they sum to the opacity.
        features: Expected features; zeros where the ray passes through.
    """

    depth_m: Float[Tensor, "B R"]
    opacity: Float[Tensor, "B R"]
    weights: Float[Tensor, "B R S"]
    features: Float[Tensor, "B R C"] | None


def uniform_depths(
    near_m: float, far_m: float, count: int, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "edges"]:
    """Edges of ``count`` equal segments of camera depth [m].

    Raises:
        ValueError: If the range is empty or the count is not positive.
    """
    if not 0 <= near_m < far_m or count < 1:
        raise ValueError(f"need 0 <= near < far and count > 0, got {near_m}, {far_m}, {count}")
    return torch.linspace(near_m, far_m, count + 1, device=device)


def termination_weights(
    density: Float[Tensor, "*rays S"], length_m: Float[Tensor, "*rays S"]
) -> Float[Tensor, "*rays S"]:
    """Probability that a ray ends in each of its segments.

    Args:
        density: Absorption in each segment [1/m]; must be >= 0.
        length_m: Metric length of each segment [m].
    """
    absorbed = density * length_m
    before = absorbed.cumsum(-1) - absorbed
    return torch.exp(-before) * -torch.expm1(-absorbed)


def sample_volume(
    volume: Float[Tensor, "B C X Y Z"],
    grid: VoxelGrid,
    points_m: Float[Tensor, "B *any 3"],
    *,
    nearest: bool = False,
) -> Float[Tensor, "B *any C"]:
    """Samples of a volume at points [m], trilinear or nearest; zero outside the grid."""
    batch, channels = volume.shape[:2]
    where = grid.sampling_from_meters(points_m).reshape(batch, -1, 1, 1, 3)
    sampled = torch.nn.functional.grid_sample(
        volume,
        where.to(volume.dtype),
        mode="nearest" if nearest else "bilinear",
        align_corners=False,
    )
    return sampled.reshape(batch, channels, -1).mT.reshape(*points_m.shape[:-1], channels)


def render_volume(
    density: Float[Tensor, "B 1 X Y Z"],
    features: Float[Tensor, "B C X Y Z"] | None,
    grid: VoxelGrid,
    rays: Rays,
    edges_m: Float[Tensor, "edges"],
    *,
    nearest: bool = False,
) -> Rendering:
    """Render density, and features if any, along rays.

    Args:
        density: Absorption [1/m]; must be >= 0.
        features: What to render besides depth: class probabilities, colors, anything linear.
        grid: Grid of the volume.
        rays: Rays in the LiDAR frame.
        edges_m: The S + 1 edges of the segments in camera depth, ascending [m]. Each segment is
            sampled at its middle.
        nearest: Sample the nearest voxel instead of interpolating. Interpolated, an opaque surface
            ends rays up to a voxel in front of it.
    """
    middles = (0.5 * (edges_m[1:] + edges_m[:-1])).expand(*rays.origins.shape[:2], -1)
    meters_per_depth = rays.directions.norm(dim=-1, keepdim=True)
    lengths = (edges_m[1:] - edges_m[:-1]) * meters_per_depth  # (B, R, S)
    points = rays.at(middles)  # (B, R, S, 3)
    if features is not None:
        density = torch.cat([density, features], dim=1)
    seen = sample_volume(density, grid, points, nearest=nearest).float()
    weights = termination_weights(seen[..., 0], lengths)
    opacity = weights.sum(-1)
    depth = (weights * middles).sum(-1) + (1.0 - opacity) * edges_m[-1]
    rendered = None if features is None else (weights[..., None] * seen[..., 1:]).sum(-2)
    return Rendering(depth, opacity, weights, rendered)
