"""Training without labels: the terms of the loss, and the labels that such a network predicts."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dataset.sample import Batch, ImageMasks
from loss.columns import column_cross_entropy
from loss.occupancy import occupied_cross_entropy
from loss.rendering import rendered_classes
from loss.termination import unexplained_occupancy
from model.novel_view import log_free_of, log_occupied_of, occupancy_density, voxel_edges
from model.objective import LossOptions
from model.render.volume import render_volume
from model.surface_rays import depth_of_rays, ray_term
from model.video import lattice_pixels, matched_columns, rays_of
from utils.geometry import VoxelGrid
from utils.labels import FREE

CONTINUED = 0.25
"""How much a column counts to which surfaces are continued; one with matched pixels counts 1."""
SURFACE_WEIGHT = 1.5
"""How much surfaces count in columns of matched pixels, against 1 of free space."""
VIDEO_STRIDE = 8
"""Pixels between the rays of a video for a network without a camera, along rows and columns."""


class LabelFreeTerms(NamedTuple):
    """Terms of the loss, and what the rays tell of depth.

    Attributes:
        terms: The terms by name.
        depth_m: Camera depth in the cells of the feature map [m], 0 where unknown; None without
            images.
    """

    terms: dict[str, Float[Tensor, ""]]
    depth_m: Float[Tensor, "B N h w"] | None


def label_free_terms(
    logits: Float[Tensor, "B classes X Y Z"],
    grid: VoxelGrid,
    batch: Batch,
    options: LossOptions,
    stride: int,
) -> LabelFreeTerms:
    """Compare the predicted occupancy with LiDAR rays, with matched pixels, or with both.

    Args:
        logits: Class scores.
        grid: Their grid.
        batch: Frames with what the supervision reads.
        options: What supervises.
        stride: Pixels along each edge of a cell of the feature map.
    """
    terms: dict[str, Tensor] = {}
    depth_m: Tensor | None = None
    log_free = log_free_of(logits)
    is_unexplained: Tensor | None = None
    if options.uses_rays:
        lidar = batch.lidar_rays
        assert lidar is not None, "a field of this supervision"
        is_unexplained = ~lidar.has_point
        terms["lidar_rays"] = ray_term(logits, grid, lidar)
        if batch.images is not None and batch.pixel_from_lidar is not None:
            height, width = batch.images.shape[-2:]
            depth_m = depth_of_rays(lidar, batch.pixel_from_lidar, (height, width), stride)
    if options.uses_video:
        assert batch.video is not None, "a field of this supervision"
        matched = matched_columns(batch.video, grid, options.label_free_options, stride)
        weight, share = matched.is_matched, matched.is_matched.new_ones(())
        if is_unexplained is None:
            weight = weight + (1 - weight) * CONTINUED * weight.amax((1, 2), keepdim=True)
            depth_m = matched.depth_m
        else:  # Points are right where they are; pixels tell of the columns without any.
            weight = weight * is_unexplained.all(-1)
            is_unexplained = is_unexplained & (weight == 0)[..., None]
            share = weight.mean()  # Each counts like a free one: they are few, and often wrong.
        terms["matched_columns"] = share * column_cross_entropy(
            log_free,
            log_occupied_of(logits),
            matched.profiles,
            weight,
            surface_weight=SURFACE_WEIGHT,
        )
    if is_unexplained is not None:
        terms["unexplained_occupancy"] = unexplained_occupancy(log_free, is_unexplained)
    if batch.masks is not None:
        far_m = options.label_free_options.depths_m[1]
        terms["mask_classes"] = mask_term(logits, grid, batch.masks, far_m, stride)
    if batch.voxel_classes is not None:
        terms["point_classes"] = occupied_cross_entropy(logits, batch.voxel_classes)
    return LabelFreeTerms(terms, depth_m)


def mask_term(
    logits: Float[Tensor, "B classes X Y Z"],
    grid: VoxelGrid,
    masks: ImageMasks,
    far_m: float,
    stride: int,
) -> Float[Tensor, ""]:
    """Compare the classes of the predicted occupancy with those of pixels, one in each cell.

    Where the rays end is not learned from this.

    Args:
        logits: Class scores.
        grid: Their grid.
        masks: The classes of the pixels.
        far_m: Camera depth where rays end [m].
        stride: Pixels along each edge of a cell.
    """
    height, width = masks.labels.shape[-2:]
    pixels = lattice_pixels((height // stride, width // stride), stride, logits.device)
    column, row = pixels.long().unbind(-1)
    rendering = render_volume(
        occupancy_density(log_free_of(logits.detach()), grid.voxel_m),
        _without_free(logits).log_softmax(dim=1),
        grid,
        rays_of(masks.pixel_from_lidar, pixels),
        voxel_edges(grid, 0.0, far_m, logits.device),
        nearest=True,
    )
    assert rendering.features is not None, "classes were rendered"
    labels = masks.labels[..., row, column].flatten(1)
    return rendered_classes(rendering.features, rendering.opacity, labels)


def _without_free(logits: Float[Tensor, "B classes X Y Z"]) -> Float[Tensor, "B C X Y Z"]:
    return torch.cat([logits[:, :FREE], logits[:, FREE + 1 :]], dim=1)
