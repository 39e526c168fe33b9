"""Photometric errors, which tell the depth of a pixel from images of other places.

For each of S depths, the pixels around a ray are compared with those of other images where a
surface at this depth would be seen. The depth is right where they look alike.

Conventions: V other images, P pixels of a patch, gray levels 0–1.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SSIM_SHARE = 0.85
_SSIM_MEAN, _SSIM_VARIANCE = 0.01**2, 0.01**2


def patch_error(
    patch: Float[Tensor, "*rays P"], seen: Float[Tensor, "*rays P"]
) -> Float[Tensor, "*rays"]:
    """Difference of two patches: 0.85 · (1 − SSIM) / 2 + 0.15 · L1, 0 to 1.

    Args:
        patch: Gray levels around a ray.
        seen: Gray levels of the same points in another image.

    Source: Godard et al., "Digging into self-supervised monocular depth estimation", ICCV 2019.
        The window of SSIM is the patch.
    """
    absolute = (patch - seen).abs().mean(-1)
    mean_patch, mean_seen = patch.mean(-1), seen.mean(-1)
    off_patch, off_seen = patch - mean_patch[..., None], seen - mean_seen[..., None]
    luminance = 2 * mean_patch * mean_seen + _SSIM_MEAN
    luminance = luminance / (mean_patch.square() + mean_seen.square() + _SSIM_MEAN)
    structure = 2 * (off_patch * off_seen).mean(-1) + _SSIM_VARIANCE
    spread = off_patch.square().mean(-1) + off_seen.square().mean(-1) + _SSIM_VARIANCE
    ssim = luminance * structure / spread
    return _SSIM_SHARE * 0.5 * (1 - ssim) + (1 - _SSIM_SHARE) * absolute


def match_exposure(
    images: Float[Tensor, "B V C H W"], target: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B V C H W"]:
    """Give images the mean and the contrast of another, channel by channel.

    The gain is limited to 0.8–1.25: what else differs is in the scene.
    """
    means, mean = images.mean(dim=(-1, -2), keepdim=True), target.mean(dim=(-1, -2), keepdim=True)
    spreads = images.std(dim=(-1, -2), keepdim=True).clamp(min=1e-3)
    spread = target.std(dim=(-1, -2), keepdim=True)
    gain = (spread[:, None] / spreads).clamp(0.8, 1.25)
    return (images - means) * gain + mean[:, None]


def best_sources(
    errors: Float[Tensor, "B V R S"], in_view: Bool[Tensor, "B V R S"]
) -> tuple[Float[Tensor, "B R S"], Bool[Tensor, "B R S"]]:
    """Mean error over all images that see a point but the worst; of two, the minimum.

    A surface that is hidden in one image is often visible in another. The minimum over many would
    often be the image with the least parallax, in which every depth looks alike.

    Args:
        errors: Error in each image.
        in_view: Whether the image sees the point.

    Returns:
        Errors, 0 where no image sees the point, and where one does.
    """
    number = max(1, errors.shape[1] - 1)
    ordered = errors.masked_fill(~in_view, torch.inf).sort(dim=1).values[:, :number]
    counts = ordered.isfinite()
    total = torch.where(counts, ordered, 0.0).sum(dim=1)
    return total / counts.sum(dim=1).clamp(min=1), counts.any(dim=1)


def best_depth(
    errors: Float[Tensor, "B R S"], is_seen: Bool[Tensor, "B R S"], depths_m: Float[Tensor, "S"]
) -> tuple[Float[Tensor, "B R"], Bool[Tensor, "B R"]]:
    """Depth of the least error, between proposals by a parabola, and whether it is distinct.

    Args:
        errors: Error of each depth.
        is_seen: Whether an image sees the depth.
        depths_m: The depths; each is the same multiple of the one before [m].

    Returns:
        Depths [m]. A distinct minimum is less than half of the ray's mean error, and neither the
        first nor the last depth.
    """
    costs = errors.masked_fill(~is_seen, torch.inf)
    least, place = costs.min(-1)
    mean = torch.where(is_seen, errors, 0.0).sum(-1) / is_seen.sum(-1).clamp(min=1)
    middle = place.clamp(1, costs.shape[-1] - 2)
    before, at, after = (costs.gather(-1, middle[..., None] + step)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    is_sure = (place == middle) & bend.isfinite() & (bend > 0) & (least < 0.5 * mean)
    shift = torch.where(is_sure, 0.5 * (before - after) / bend, 0.0)
    step = (depths_m[1] / depths_m[0]).log()
    return depths_m[middle] * (shift * step).exp(), is_sure


def is_explained(
    errors: Float[Tensor, "B R S"],
    is_seen: Bool[Tensor, "B R S"],
    unmoved: Float[Tensor, "B R"],
    *,
    limit: float,
) -> Bool[Tensor, "B R"]:
    """Rays whose images a static scene explains at some depth.

    What moves like the vehicle looks alike without any motion, and other movers look alike at no
    depth.

    Args:
        errors: Error of each depth.
        is_seen: Whether an image sees the depth.
        unmoved: Error of the same pixels of the other images.
        limit: Largest error of the best depth.
    """
    least = errors.masked_fill(~is_seen, torch.inf).amin(-1)
    return (least < unmoved) & (least < limit)
