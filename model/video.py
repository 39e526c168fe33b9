"""Supervision by cameras: from video and poses to profiles of columns of voxels.

Pixels of the images of the frame and of its neighbors are compared with the images of all other
frames at many depths. Where one depth is distinctly the best, the pixel votes for the voxel there.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from dataset.sample import VideoImages
from loss.columns import continued, surface_profiles
from loss.photometric import best_depth, best_sources, is_explained, match_exposure, patch_error
from model.objective import LabelFreeOptions
from model.render.rays import Rays, pixel_rays
from model.surface_rays import free_segments, voxel_of
from utils.geometry import VoxelGrid, project_points

PATCH_PX = (-2, 0, 2)
"""Rows and columns of the patches that are compared, from their centers. As the images are blurred
by 3 pixels before, nothing between them is left out."""
LARGEST_ERROR = 0.15
"""Rays without a smaller error at any depth are not used: they show something that moves."""
REACH_M = 5.0
"""Distance to which surfaces are continued. Nobody maps what is farther from all that is seen."""
FEWEST_VOTES = 2
"""Pixels of a column and those beside it that must agree on a voxel."""


class Proposals(NamedTuple):
    """Errors of the depths at which rays may end.

    Attributes:
        errors: Photometric error of each depth.
        is_seen: Whether another image sees it.
        counts: Rays that a static scene explains.
    """

    errors: Float[Tensor, "B R S"]
    is_seen: Bool[Tensor, "B R S"]
    counts: Bool[Tensor, "B R"]


class MatchedColumns(NamedTuple):
    """Where the pixels say that surfaces are.

    Attributes:
        profiles: For each voxel whether a surface is there, 0 to 1.
        is_matched: Columns with matched pixels, 1, or to which surfaces are continued, 0.
        depth_m: Camera depth of the frame's own pixels, one in each cell [m]; 0 where no depth is
            distinctly the best.
    """

    profiles: Float[Tensor, "B X Y Z"]
    is_matched: Float[Tensor, "B X Y"]
    depth_m: Float[Tensor, "B N h w"]


def proposed_depths(options: LabelFreeOptions, device: torch.device) -> Float[Tensor, "S"]:
    """Camera depths, each the same multiple of the one before [m].

    Images determine a depth to about the same share of it.
    """
    near, far = (torch.tensor(depth, device=device).log() for depth in options.depths_m)
    return torch.linspace(0, 1, options.proposals, device=device).mul(far - near).add(near).exp()


@torch.no_grad()
def matched_columns(
    video: VideoImages, grid: VoxelGrid, options: LabelFreeOptions, stride: int
) -> MatchedColumns:
    """Match pixels of the images of all frames, and collect their votes.

    Args:
        video: The images.
        grid: The grid.
        options: How many pixels are compared, and at which depths.
        stride: Pixels along each edge of a cell. Random pixels of each are used.
    """
    frames, cameras = video.images.shape[1:3]
    height, width = video.images.shape[-2:]
    lattice = (height // stride, width // stride)
    depths_m = proposed_depths(options, video.images.device)
    votes, own_m = depths_m.new_zeros(len(video.images), *grid.shape), None
    passes = torch.zeros_like(votes)
    for target in range(frames):
        order = [target, *(frame for frame in range(frames) if frame != target)]
        views = VideoImages(video.pixel_from_lidar[:, order], video.images[:, order])
        pixels = torch.cat(
            [lattice_pixels(lattice, stride, depths_m.device) for _ in range(options.pixels)]
        )
        found = proposals(views, pixels, depths_m)
        best_m, is_sure = best_depth(found.errors, found.is_seen, depths_m)
        is_there = views.pixel_from_lidar[:, 0].flatten(2).any(-1)
        is_sure &= found.counts & is_there.repeat_interleave(len(pixels), dim=1)
        rays = rays_of(views.pixel_from_lidar[:, 0], pixels)
        ends_m = rays.at(best_m[..., None])[:, :, 0]
        votes += votes_of(ends_m, is_sure, grid)
        passes += passes_of(rays.origins, ends_m, is_sure, grid)
        if own_m is None:
            own_m = torch.where(is_sure, best_m, 0.0).unflatten(1, (cameras, -1, *lattice))[:, :, 0]
    assert own_m is not None, "the first target is the frame itself"
    profiles, is_matched = surface_profiles(votes, passes, fewest=FEWEST_VOTES)
    profiles = continued(profiles, is_matched, reach=round(REACH_M / grid.voxel_m))
    return MatchedColumns(profiles, is_matched, own_m)


def rays_of(pixel_from_lidar: Float[Tensor, "B N 4 4"], pixels: Float[Tensor, "P 2"]) -> Rays:
    """Rays through the same pixels of all cameras; those of a frame that is missing have no length.

    Args:
        pixel_from_lidar: Projections.
        pixels: Centers (u, v).
    """
    batch, cameras = pixel_from_lidar.shape[:2]
    flat = pixel_from_lidar.flatten(0, 1)
    is_missing = (flat == 0).all(dim=(-1, -2), keepdim=True)
    flat = flat.where(~is_missing, torch.eye(4, device=flat.device))
    rays = pixel_rays(flat, pixels.expand(batch * cameras, -1, -1))
    return Rays(*(part.reshape(batch, -1, 3) for part in rays))


def votes_of(
    ends_m: Float[Tensor, "B R 3"], counts: Bool[Tensor, "B R"], grid: VoxelGrid
) -> Float[Tensor, "B X Y Z"]:
    """Number of rays that end in each voxel.

    Args:
        ends_m: The ends.
        counts: Whether a ray votes.
        grid: The grid.
    """
    votes = ends_m.new_zeros(len(ends_m), grid.shape[0] * grid.shape[1] * grid.shape[2])
    counts = counts & grid.contains(ends_m)
    votes = votes.scatter_add(1, voxel_of(ends_m, grid), counts.to(votes))
    return votes.view(-1, *grid.shape)


def passes_of(
    origins_m: Float[Tensor, "B R 3"],
    ends_m: Float[Tensor, "B R 3"],
    counts: Bool[Tensor, "B R"],
    grid: VoxelGrid,
) -> Float[Tensor, "B X Y Z"]:
    """Length of the rays through each voxel, in voxels.

    Only what is more than a voxel above or below the end counts: a ray that grazes the ground
    passes voxels that the ground is in.

    Args:
        origins_m: Where rays begin.
        ends_m: Where they end.
        counts: Whether a ray counts.
        grid: The grid.
    """
    points_m, length_m = free_segments(origins_m, ends_m, grid)
    is_clear = (points_m[..., 2] - ends_m[..., None, 2]).abs() > grid.voxel_m
    share = torch.where(counts, length_m, 0.0)[..., None] / grid.voxel_m * is_clear
    passes = ends_m.new_zeros(len(ends_m), grid.shape[0] * grid.shape[1] * grid.shape[2])
    passes = passes.scatter_add(1, voxel_of(points_m, grid).flatten(1), share.flatten(1))
    return passes.view(-1, *grid.shape)


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
        video: The images; those of the first frame are compared.
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
    rays = rays_of(pixel_from_lidar[:, None], around[0])
    points_m = rays.at(depths_m.expand(*rays.origins.shape[:2], -1)).flatten(1, 2)
    errors, seen, unmoved = [], [], []
    for source in range(number):
        where, depth_m = project_points(source_from_lidar[:, source], points_m)
        limits = where.new_tensor([own.shape[-1], own.shape[-2]])
        # Just in front of another camera, a patch is magnified until anything plain looks alike.
        inside = ((where >= 0) & (where < limits)).all(-1) & (depth_m > depths_m[0])
        shape = (batch, len(pixels), len(offsets), len(depths_m))
        levels = levels_at(sources[:, source], where).view(shape).transpose(2, 3)
        errors.append(patch_error(patches[:, :, None].expand_as(levels), levels))
        seen.append(inside.view(shape).all(2))
        still = levels_at(sources[:, source], around).view_as(patches)
        unmoved.append(patch_error(patches, still))
    best, is_seen = best_sources(torch.stack(errors, 1), torch.stack(seen, 1))
    least_unmoved = torch.stack(unmoved, 1).amin(1)
    counts = is_explained(best, is_seen, least_unmoved, limit=LARGEST_ERROR)
    return Proposals(best, is_seen, counts)


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
