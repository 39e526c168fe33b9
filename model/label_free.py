"""Training without labels: the terms of the loss, and the labels that such a network predicts."""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dataset.sample import Batch
from loss.termination import unexplained_occupancy
from model.novel_view import log_free_of, log_occupied_of
from model.objective import LossOptions
from model.surface_rays import SurfaceRays, depth_of_rays, ray_term
from model.video import matched_rays
from utils.geometry import VoxelGrid
from utils.labels import FREE


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
    has_point = torch.zeros_like(logits[:, 0], dtype=torch.bool)
    is_measured = torch.ones_like(has_point)
    if options.uses_rays:
        lidar = batch.lidar_rays
        assert lidar is not None, "a field of this supervision"
        has_point = lidar.has_point
        share = torch.ones_like(lidar.ends_m[..., 0])  # The reader has drawn them evenly.
        rays = SurfaceRays(lidar.origins_m, lidar.ends_m, has_point, share)
        terms["lidar_rays"] = ray_term(logits, grid, rays)
        if batch.images is not None and batch.pixel_from_lidar is not None:
            height, width = batch.images.shape[-2:]
            depth_m = depth_of_rays(lidar, batch.pixel_from_lidar, (height, width), stride)
    if options.uses_video:
        assert batch.video is not None, "a field of this supervision"
        matched = matched_rays(batch.video, grid, options.label_free_options, stride)
        has_point = has_point | matched.rays.has_point
        terms["matched_rays"] = ray_term(logits, grid, matched.rays._replace(has_point=has_point))
        if not options.uses_rays:
            # Few pixels match. A column without one says nothing, not that it is empty.
            is_measured = has_point.any(-1, keepdim=True).expand_as(has_point)
            depth_m = matched.depth_m
    is_unexplained = is_measured & ~has_point
    terms["unexplained_occupancy"] = unexplained_occupancy(log_free_of(logits), is_unexplained)
    return LabelFreeTerms(terms, depth_m)


def occupied_labels(logits: Float[Tensor, "B classes X Y Z"]) -> UInt8[Tensor, "B X Y Z"]:
    """The likeliest class but free where P(occupied) is above one half, else free."""
    is_occupied = log_free_of(logits) < log_occupied_of(logits)
    scores = logits.index_fill(1, torch.tensor([FREE], device=logits.device), -torch.inf)
    return torch.where(is_occupied, scores.argmax(dim=1), FREE).to(torch.uint8)
