"""Surfaces from signed distance: what a network that learns from video predicts.

In a grid of large voxels, a ray that grazes the ground passes many voxels that hold it, so that no
density per voxel ends it in the right place. A distance does: it is interpolated between the
voxels' centers, and the surface is where it is 0. A voxel is occupied if the surface crosses it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, logsigmoid

from model.render.rays import Rays
from utils.geometry import VoxelGrid
from utils.labels import FREE

SOFTNESS = 0.1
"""Voxels of distance in which the odds of being occupied change by a factor of e."""


class Surface(NamedTuple):
    """A signed distance and its gradient.

    Attributes:
        distance_m: Distance of each voxel's center from the surface [m]; negative below it.
        gradient: Its slope along x, y and z [m/m].
    """

    distance_m: Float[Tensor, "B X Y Z"]
    gradient: Float[Tensor, "B 3 X Y Z"]


def surface_of(
    logits: Float[Tensor, "B classes X Y Z"], grid: VoxelGrid, ground_m: float
) -> Surface:
    """The surface that a head's scores of "free" describe.

    Args:
        logits: Scores of the head. That of "free" is the distance from level ground at
            ``ground_m`` to the surface, in voxels.
        grid: Grid of the logits.
        ground_m: Height of level ground in the frame of the grid [m].
    """
    height_m = grid.centers_m(logits.device)[..., 2] - ground_m
    distance_m = height_m + grid.voxel_m * logits[:, FREE]
    gradient = torch.stack(torch.gradient(distance_m, spacing=grid.voxel_m, dim=(1, 2, 3)), dim=1)
    return Surface(distance_m, gradient)


def occupied_by(
    surface: Surface, logits: Float[Tensor, "B classes X Y Z"], grid: VoxelGrid
) -> Float[Tensor, "B classes X Y Z"]:
    """Scores with which a voxel is occupied if the surface crosses it.

    A plane crosses a cube if its distance from the center is at most half an edge times the sum of
    the absolute components of its normal.

    Args:
        surface: The surface.
        logits: Scores of the head; those of the classes share the probability of "occupied".
        grid: The grid.
    """
    reach_m = 0.5 * grid.voxel_m * surface.gradient.abs().sum(1)
    log_odds = (reach_m - surface.distance_m.abs()) / (SOFTNESS * grid.voxel_m)
    classes = [score for score in range(logits.shape[1]) if score != FREE]
    free = logits[:, classes].logsumexp(1) - log_odds
    return torch.cat([free[:, None], logits[:, classes]], dim=1)


def absorption(
    surface: Surface,
    grid: VoxelGrid,
    rays: Rays,
    edges_m: Float[Tensor, "edges"],
    blur_m: float,
) -> Float[Tensor, "B R S"]:
    """Absorption in each segment of rays, for a surface that is blurred along its normal.

    A ray reaches a place at distance s with probability sigmoid(s / blur_m): half of it is absorbed
    before the surface and half behind, whatever the angle.

    Args:
        surface: The surface.
        grid: The grid; nothing is absorbed outside.
        rays: Rays in the LiDAR frame.
        edges_m: The S + 1 edges of the segments in camera depth, ascending [m].
        blur_m: How far the surface is blurred [m].

    Source: Wang et al., "NeuS", NeurIPS 2021.
    """
    points_m = rays.at(edges_m.expand(*rays.origins.shape[:2], -1))  # (B, R, edges, 3)
    passed = logsigmoid(distance_at(surface, grid, points_m) / blur_m)
    absorbed = (passed[..., :-1] - passed[..., 1:]).clamp(min=0.0)
    is_inside = grid.contains(points_m)
    return absorbed * (is_inside[..., :-1] & is_inside[..., 1:])


def distance_at(
    surface: Surface, grid: VoxelGrid, points_m: Float[Tensor, "B *any 3"]
) -> Float[Tensor, "B *any"]:
    """Interpolated distance from the surface at points [m]; that of the border outside the grid."""
    where = grid.sampling_from_meters(points_m).reshape(len(points_m), -1, 1, 1, 3)
    sampled = grid_sample(
        surface.distance_m[:, None], where, padding_mode="border", align_corners=False
    )
    return sampled.view(points_m.shape[:-1])
