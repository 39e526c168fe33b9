"""Supervision by cameras: the loss terms of training from video and poses.

Rays through a lattice of the frame's own pixels are compared with the images of other frames, and
of its other cameras, at many depths.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from dataset.sample import VideoImages
from loss.photometric import (
    best_depth,
    best_sources,
    is_explained,
    match_exposure,
    matched_surface,
    patch_error,
    photometric_loss,
    plane_smoothness,
    unit_slope,
)
from model.objective import LabelFreeOptions
from model.render.rays import Rays, pixel_rays
from model.render.volume import termination_weights
from model.surface import Surface, absorption, distance_at
from utils.geometry import VoxelGrid, project_points

VIDEO_STRIDE = 8
"""Pixels between rays for a network without a camera, along rows and columns."""
PATCH_PX = (-2, 0, 2)
"""Rows and columns of the patches that are compared, from their centers. As the images are blurred
by 3 pixels before, nothing between them is left out."""
LARGEST_ERROR = 0.15
"""Rays without a smaller error at any depth are not used: they show something that moves."""


class Proposals(NamedTuple):
    """Errors of the depths at which rays may end.

    Attributes:
        errors: Photometric error of each segment.
        is_seen: Whether another image sees it.
        counts: Rays that a static scene explains.
        gray: Gray levels of the own pixels, 0–1.
    """

    errors: Float[Tensor, "B R S"]
    is_seen: Bool[Tensor, "B R S"]
    counts: Bool[Tensor, "B R"]
    gray: Float[Tensor, "B R"]


class VideoResult(NamedTuple):
    """Terms, and what else the images tell.

    Attributes:
        terms: Terms of the loss by name.
        matched_m: Camera depth where the lattice of rays matches other images best [m]; 0 where
            no depth is distinctly the best.
    """

    terms: dict[str, Float[Tensor, ""]]
    matched_m: Float[Tensor, "B N h w"]


def segment_edges(options: LabelFreeOptions, device: torch.device) -> Float[Tensor, "edges"]:
    """Edges of the segments of a ray in camera depth [m]: each is the same share of its depth.

    The images determine a depth to about the same share of it.
    """
    near, far = (torch.tensor(depth, device=device).log() for depth in options.depths_m)
    return torch.linspace(0, 1, options.segments + 1, device=device).mul(far - near).add(near).exp()


def video_terms(
    surface: Surface,
    grid: VoxelGrid,
    video: VideoImages,
    options: LabelFreeOptions,
    stride: int,
) -> VideoResult:
    """Terms of the frame's own cameras.

    Args:
        surface: The predicted surface.
        grid: Its grid.
        video: The images.
        options: How rays are cut.
        stride: Pixels between rays, along rows and columns. A random one of each cell is used.
    """
    batch, _, cameras, _, height, width = video.images.shape
    lattice = (height // stride, width // stride)
    edges_m = segment_edges(options, video.images.device)
    pixels = lattice_pixels(lattice, stride, video.images.device)
    expand = pixels.expand(batch * cameras, -1, -1)
    flat = pixel_rays(video.pixel_from_lidar[:, 0].flatten(0, 1), expand)
    rays = Rays(*(part.reshape(batch, -1, 3) for part in flat))
    absorbed = absorption(surface, grid, rays, edges_m, options.blur_m)
    weights = termination_weights(absorbed, torch.ones_like(absorbed))
    middles_m = (edges_m[1:] * edges_m[:-1]).sqrt()
    found = proposals(video, pixels, middles_m)
    is_outside = ~grid.contains(rays.at(middles_m.expand(*rays.origins.shape[:2], -1)))
    opacity = weights.sum(-1)
    inverse = (weights / middles_m).sum(-1) + (1 - opacity) / edges_m[-1]
    best_m, is_sure = best_depth(found.errors, found.is_seen, middles_m)
    is_sure &= found.counts
    matches_m = rays.at(best_m[..., None])[:, :, 0]
    terms = {
        "photometric": photometric_loss(
            weights, found.errors, found.is_seen, is_outside, found.counts
        ),
        "matched_surface": matched_surface(
            distance_at(surface, grid, matches_m) / grid.voxel_m,
            is_sure & grid.contains(matches_m),
        ),
        "plane_smoothness": plane_smoothness(
            inverse.view(batch * cameras, *lattice), found.gray.view(batch * cameras, 1, *lattice)
        ),
        "unit_slope": unit_slope(surface.gradient),
    }
    return VideoResult(terms, torch.where(is_sure, best_m, 0.0).view(batch, cameras, *lattice))


def lattice_pixels(
    lattice: tuple[int, int], stride: int, device: torch.device
) -> Float[Tensor, "R 2"]:
    """Center (u, v) of one random pixel, the same in each cell, row by row."""
    rows, columns = (torch.arange(number, device=device) * stride for number in lattice)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    shift = torch.randint(stride, (2,), device=device)
    return torch.stack((u, v), dim=-1).reshape(-1, 2) + shift + 0.5


@torch.no_grad()
def proposals(
    video: VideoImages, pixels: Float[Tensor, "P 2"], depths_m: Float[Tensor, "S"]
) -> Proposals:
    """Compare patches of the own images with all other images, at each depth.

    Args:
        video: The images; the first of each camera is the frame's own.
        pixels: Centers of the patches, the same in each own image.
        depths_m: Camera depths [m].
    """
    cameras = video.images.shape[2]
    images = blurred_gray(video.images.flatten(0, 2)).unflatten(0, video.images.shape[:3])
    projections = video.pixel_from_lidar
    found = []
    for camera in range(cameras):
        own = images[:, 0, camera]
        others = [
            (frame, other)
            for frame in range(images.shape[1])
            for other in range(cameras)
            if (frame, other) != (0, camera) and (frame == 0 or other == camera)
        ]
        sources = torch.stack([images[:, frame, other] for frame, other in others], dim=1)
        matrices = torch.stack([projections[:, frame, other] for frame, other in others], dim=1)
        found.append(
            _proposals_of(
                own,
                projections[:, 0, camera],
                match_exposure(sources, own),
                matrices,
                pixels,
                depths_m,
            )
        )
    return Proposals(*(torch.cat(part, dim=1) for part in zip(*found, strict=True)))


def _proposals_of(
    own: Float[Tensor, "B 1 H W"],
    pixel_from_lidar: Float[Tensor, "B 4 4"],
    sources: Float[Tensor, "B V 1 H W"],
    source_from_lidar: Float[Tensor, "B V 4 4"],
    pixels: Float[Tensor, "P 2"],
    depths_m: Float[Tensor, "S"],
) -> Proposals:
    """Compare the patches of one own image with its sources."""
    batch, number = sources.shape[:2]
    reach = torch.tensor(PATCH_PX, device=pixels.device)
    offsets = torch.stack(torch.meshgrid(reach, reach, indexing="xy"), dim=-1).reshape(-1, 2)
    around = (pixels[:, None] + offsets).reshape(1, -1, 2).expand(batch, -1, -1)  # (B, R·P, 2)
    patches = levels_at(own, around).unflatten(1, (len(pixels), -1))  # (B, R, P)
    rays = pixel_rays(pixel_from_lidar, around)
    points_m = rays.at(depths_m.expand(*rays.origins.shape[:2], -1)).flatten(1, 2)
    errors, seen, unmoved = [], [], []
    for source in range(number):
        where, depth_m = project_points(source_from_lidar[:, source], points_m)
        limits = where.new_tensor([own.shape[-1], own.shape[-2]])
        inside = ((where >= 0) & (where < limits)).all(-1) & (depth_m > 0.1)
        shape = (batch, len(pixels), len(offsets), len(depths_m))
        levels = levels_at(sources[:, source], where).view(shape).transpose(2, 3)
        errors.append(patch_error(patches[:, :, None].expand_as(levels), levels))
        seen.append(inside.view(shape).all(2))
        still = levels_at(sources[:, source], around).view_as(patches)
        unmoved.append(patch_error(patches, still))
    best, is_seen = best_sources(torch.stack(errors, 1), torch.stack(seen, 1))
    least_unmoved = torch.stack(unmoved, 1).amin(1)
    counts = is_explained(best, is_seen, least_unmoved, limit=LARGEST_ERROR)
    return Proposals(best, is_seen, counts, patches[:, :, len(offsets) // 2])


def blurred_gray(images: UInt8[Tensor, "M 3 H W"]) -> Float[Tensor, "M 1 H W"]:
    """Mean of the colors and of 3×3 pixels, 0–1."""
    gray = images.float().mean(dim=1, keepdim=True) / 255
    return avg_pool2d(pad(gray, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def levels_at(
    image: Float[Tensor, "B 1 H W"], pixels: Float[Tensor, "B R 2"]
) -> Float[Tensor, "B R"]:
    """Gray levels of an image at pixels (u, v), bilinear; those of the border outside."""
    height, width = image.shape[-2:]
    where = 2 * pixels / pixels.new_tensor([width, height]) - 1
    sampled = grid_sample(image, where[:, None], padding_mode="border", align_corners=False)
    return sampled[:, 0, 0]
