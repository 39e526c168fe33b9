"""Gaussians splatted to the image plane: gsplat on a GPU, a slow equivalent in torch elsewhere.

Each Gaussian's covariance is projected with the camera's local affine map, Σ' = J W Σ Wᵀ Jᵀ + 0.3 I
[px²]; at a pixel it has α = o · exp(−½ dᵀ Σ'⁻¹ d), and the Gaussians blend front to back.

Source: Zwicker et al., "EWA splatting", 2002; Kerbl et al., "3D Gaussian splatting", 2023; the
constants are those of gsplat (Ye et al., 2024), so both give the same image.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from utils.quaternions import rotation_matrices

BLUR_PX2 = 0.3
"""Added to the projected variances, so that no Gaussian is lost between pixels [px²]."""
MIN_ALPHA, MAX_ALPHA = 1 / 255, 0.999
"""A Gaussian with a smaller α at a pixel is skipped there; a larger α is clamped."""
MIN_TRANSMITTANCE = 1e-4
"""Blending ends before the Gaussian that would reduce the transmittance below this."""
_NO_KERNELS = (
    "gsplat has no kernels for this GPU and cannot compile them: install the CUDA toolkit with "
    "nvcc (docs/installation.md), or disable Gaussians with model.parts.refinement=None"
)
NEAR_M = 0.01
"""Gaussians nearer than this, or behind the camera, are skipped [m]."""


class Gaussians(NamedTuple):
    """G Gaussians a frame, in the LiDAR frame.

    Attributes:
        means_m: Centers [m].
        scales_m: Standard deviations along the Gaussian's own axes [m].
        rotations: Quaternions (w, x, y, z) of those axes; normalized where they are used.
        opacities: In [0, 1].
        features: What is rendered besides depth: class probabilities, colors, anything linear.
    """

    means_m: Float[Tensor, "B G 3"]
    scales_m: Float[Tensor, "B G 3"]
    rotations: Float[Tensor, "B G 4"]
    opacities: Float[Tensor, "B G"]
    features: Float[Tensor, "B G C"]


class Splatting(NamedTuple):
    """Rendered images, one for each camera.

    Attributes:
        features: Sum of the Gaussians' features by blending weight; zeros where there are none.
        depth_m: Mean camera depth of the Gaussians by blending weight [m]; 0 where there are none.
        opacity: Sum of the blending weights, in [0, 1].
    """

    features: Float[Tensor, "B N H W C"]
    depth_m: Float[Tensor, "B N H W"]
    opacity: Float[Tensor, "B N H W"]


class SplitProjection(NamedTuple):
    """``pixel_from_lidar`` in the two parts that splatting needs.

    Attributes:
        pixel_from_cam: Focal lengths and center, without skew [px].
        cam_from_lidar: Rigid; a reflection too if an augmentation mirrors image or volume.
    """

    pixel_from_cam: Float[Tensor, "*cameras 3 3"]
    cam_from_lidar: Float[Tensor, "*cameras 4 4"]


def split_projection(pixel_from_lidar: Float[Tensor, "*cameras 4 4"]) -> SplitProjection:
    """Decompose a projection without skew; its third row must have unit length.

    Args:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1).
    """
    projection = pixel_from_lidar.float()
    forward = projection[..., 2, :3]
    rows = projection[..., :2, :]  # u·d and v·d
    center = (rows[..., :3] * forward[..., None, :]).sum(-1)  # (*cameras, 2)
    rows = rows - center[..., None] * projection[..., 2:3, :]
    focal = rows[..., :3].norm(dim=-1)  # (*cameras, 2)
    cam_from_lidar = projection.clone()
    cam_from_lidar[..., :2, :] = rows / focal[..., None]
    pixel_from_cam = torch.diag_embed(torch.nn.functional.pad(focal, (0, 1), value=1.0))
    pixel_from_cam[..., :2, 2] = center
    return SplitProjection(pixel_from_cam, cam_from_lidar)


def splat(
    gaussians: Gaussians, pixel_from_lidar: Float[Tensor, "B N 4 4"], height: int, width: int
) -> Splatting:
    """Render Gaussians with N cameras a frame, differentiably in every field of theirs.

    Args:
        gaussians: What to render.
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1); pixel centers are at
            integer + 0.5.
        height: Rows of the images.
        width: Columns of the images.
    """
    camera = split_projection(pixel_from_lidar)
    if gaussians.means_m.is_cuda:
        return _splat_gsplat(gaussians, camera, height, width)
    return splat_slowly(gaussians, camera, height, width)


def compiled_rasterization() -> Callable[..., Any]:
    """Gsplat's rasterization; its kernels are compiled here, on first use.

    Raises:
        OSError: If they cannot be compiled.
    """
    try:
        from gsplat import rasterization
        from gsplat.cuda._backend import _C as kernels
    except Exception as error:  # Whatever the compiler, the linker or the loader raises.
        raise OSError(f"{_NO_KERNELS} ({error})") from error
    if kernels is None:
        raise OSError(_NO_KERNELS)
    return rasterization


def _splat_gsplat(
    gaussians: Gaussians, camera: SplitProjection, height: int, width: int
) -> Splatting:
    means, scales, rotations, opacities, features = (field.float() for field in gaussians)
    image, opacity, _ = compiled_rasterization()(
        means,
        rotations,
        scales,
        opacities,
        features,
        camera.cam_from_lidar,
        camera.pixel_from_cam,
        width,
        height,
        near_plane=NEAR_M,
        eps2d=BLUR_PX2,
        render_mode="RGB+ED",
        packed=False,
    )
    return Splatting(image[..., :-1], image[..., -1], opacity[..., 0])


def splat_slowly(
    gaussians: Gaussians, camera: SplitProjection, height: int, width: int, *, at_once: int = 2**20
) -> Splatting:
    """The same in plain torch: a Gaussian is evaluated at the pixels where it can count.

    Args:
        gaussians: What to render.
        camera: N cameras a frame.
        height: Rows of the images.
        width: Columns of the images.
        at_once: Pairs of a pixel and a Gaussian to blend at a time, about; more are split by rows.
    """
    size = camera.pixel_from_cam.new_tensor([width, height])
    images = []
    batch, cameras = camera.cam_from_lidar.shape[:2]
    for frame, index in product(range(batch), range(cameras)):
        one = Gaussians(*(field[frame] for field in gaussians))
        place = (camera.pixel_from_cam[frame, index], camera.cam_from_lidar[frame, index])
        projected = _project(one, *place, size)
        boxes = _boxes(projected, size)
        number = int((boxes[:, 2:] - boxes[:, :2]).prod(-1).sum())
        rows = -(-height // (1 + number // at_once))  # rounded up
        parts = [
            _blend(projected, _pairs(projected, boxes, range(height)[top : top + rows], width))
            for top in range(0, height, rows)
        ]
        images.append([torch.cat(values) for values in zip(*parts, strict=True)])
    features, depth, opacity = (torch.stack(values) for values in zip(*images, strict=True))
    shape = (batch, cameras, height, width)
    return Splatting(features.view(*shape, -1), depth.view(shape), opacity.view(shape))


class _Projected(NamedTuple):
    """Gaussians on the image plane, nearest first.

    Attributes:
        means_px: Their centers.
        spread_px2: Variances along u and v.
        conic: Inverse of the covariance: its elements uu, uv and vv.
        opacities: In [0, 1].
        blended: What is blended: features, depth [m], and 1 for the opacity.
    """

    means_px: Float[Tensor, "G 2"]
    spread_px2: Float[Tensor, "G 2"]
    conic: Float[Tensor, "G 3"]
    opacities: Float[Tensor, "G"]
    blended: Float[Tensor, "G values"]


def _project(
    one: Gaussians, pixel_from_cam: Tensor, cam_from_lidar: Tensor, size: Tensor
) -> _Projected:
    rotation, translation = cam_from_lidar[:3, :3], cam_from_lidar[:3, 3]
    means = one.means_m @ rotation.T + translation  # (G, 3)
    order = means[:, 2].argsort()
    order = order[means[order, 2] > NEAR_M]
    means = means[order]
    axes = rotation @ rotation_matrices(one.rotations[order]) * one.scales_m[order][:, None]
    depth = means[:, 2:]
    focal, center = pixel_from_cam.diagonal()[:2], pixel_from_cam[:2, 2]
    slopes = means[:, :2] / depth
    # Far outside the image the affine map is useless: it is clamped 15 % outside the border.
    lowest, highest = (-center - 0.15 * size) / focal, (1.15 * size - center) / focal
    jacobian = torch.zeros(len(means), 2, 3, dtype=means.dtype, device=means.device)
    jacobian[:, 0, 0], jacobian[:, 1, 1] = focal[0] / means[:, 2], focal[1] / means[:, 2]
    jacobian[:, :, 2] = -focal * slopes.clamp(lowest, highest) / depth
    flat = jacobian @ axes  # (G, 2, 3)
    covariances = flat @ flat.mT + BLUR_PX2 * torch.eye(2, dtype=means.dtype, device=means.device)
    uu, uv, vv = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    conic = torch.stack([vv, -uv, uu], dim=-1) / (uu * vv - uv * uv)[:, None]
    blended = torch.cat([one.features[order], depth, torch.ones_like(depth)], dim=-1)
    spread = torch.stack([uu, vv], dim=-1)
    return _Projected(slopes * focal + center, spread, conic, one.opacities[order], blended)


@torch.no_grad()
def _boxes(projected: _Projected, size: Float[Tensor, "2"]) -> Int64[Tensor, "G 4"]:
    """Bound the pixels where each Gaussian can count: left, top, and right and bottom, exclusive.

    Args:
        projected: The Gaussians.
        size: Columns and rows of the image.
    """
    # Along u none is more opaque than o · exp(−½ du² / Σ'uu), and likewise along v.
    reach = (2 * (projected.opacities / (0.99 * MIN_ALPHA)).log().clamp_min(0)).sqrt()
    reach_px = reach[:, None] * projected.spread_px2.sqrt()
    first = (projected.means_px - reach_px - 0.5).ceil().clamp_min(0).minimum(size)
    end = (projected.means_px + reach_px + 0.5).floor().minimum(size)
    return torch.cat([first, end.maximum(first)], dim=1).long()


class _Pairs(NamedTuple):
    """Pairs of a Gaussian and a pixel where it may count: Gaussian by Gaussian, nearest first.

    Attributes:
        gaussians: Their Gaussians.
        pixels: Their pixels.
        centers_px: Centers of the pixels: u, v.
        starts: First pair of each Gaussian, and the number of pairs.
        order: The pairs pixel by pixel, nearest first.
        starts_in_order: First place of each pixel there, and the number of pairs.
    """

    gaussians: Int64[Tensor, "P"]
    pixels: Int64[Tensor, "P"]
    centers_px: Float[Tensor, "2 P"]
    starts: Int64[Tensor, "gaussian_ends"]
    order: Int64[Tensor, "P"]
    starts_in_order: Int64[Tensor, "pixel_ends"]


@torch.no_grad()
def _pairs(projected: _Projected, boxes: Int64[Tensor, "G 4"], rows: range, width: int) -> _Pairs:
    """List the pairs in some rows of the image; pixels count from the first of these.

    Args:
        projected: The Gaussians.
        boxes: The pixels where each may count.
        rows: The rows.
        width: Columns of the image.
    """
    left, top, right, bottom = boxes.unbind(1)
    top, bottom = top.clamp_min(rows.start), bottom.clamp_max(rows.stop)
    columns = right - left
    numbers = columns * (bottom - top).clamp_min(0)
    gaussians, starts = torch.repeat_interleave(numbers), _sums(numbers)
    start, columns, left, top = (
        part.index_select(0, gaussians) for part in (starts[:-1], columns, left, top)
    )
    place = torch.arange(len(gaussians), device=boxes.device) - start
    down = place // columns
    column, row = left + place - down * columns, top + down
    pixels = (row - rows.start) * width + column
    return _Pairs(
        gaussians=gaussians,
        pixels=pixels,
        centers_px=torch.stack([column, row]).to(projected.means_px) + 0.5,
        starts=starts,
        order=pixels.int().argsort(stable=True),  # Short integers sort fastest.
        starts_in_order=_sums(pixels.bincount(minlength=len(rows) * width)),
    )


def _blend(
    projected: _Projected, pairs: _Pairs
) -> tuple[Float[Tensor, "pixels C"], Float[Tensor, "pixels"], Float[Tensor, "pixels"]]:
    """Blend the Gaussians of each pixel."""
    fields = (projected.means_px.T, projected.conic.T, projected.opacities[None])
    u, v, uu, uv, vv, opacity = torch.cat(fields).index_select(1, pairs.gaussians)
    du, dv = pairs.centers_px[0] - u, pairs.centers_px[1] - v
    exponent = -0.5 * (uu * du**2 + vv * dv**2) - uv * du * dv  # −½ dᵀ Σ'⁻¹ d
    alpha = (opacity * exponent.exp()).clamp_max(MAX_ALPHA)
    values = _Composite.apply(alpha * (alpha >= MIN_ALPHA), projected.blended, pairs)
    features, depth, opacity = values[:, :-2], values[:, -2], values[:, -1]
    return features, depth / opacity.clamp_min(1e-10), opacity


class _Composite(torch.autograd.Function):
    """Sums over the pairs of each pixel: αᵢ Π_{j<i} (1 − αⱼ) times the values of the Gaussian.

    Sums over a pixel's pairs are differences of sums over all pairs, which need float64.
    """

    @staticmethod
    def forward(
        ctx: Any, alpha: Float[Tensor, "P"], blended: Float[Tensor, "G C"], pairs: _Pairs
    ) -> Float[Tensor, "pixels C"]:
        alpha = alpha.index_select(0, pairs.order)
        pixels = pairs.pixels.index_select(0, pairs.order)
        sums = _sums(torch.log1p(-alpha.double()))
        begins = sums.index_select(0, pairs.starts_in_order[:-1])
        passed = (sums[1:] - begins.index_select(0, pixels)).exp()
        before = (passed / (1 - alpha) * (passed > MIN_TRANSMITTANCE)).to(alpha)
        weights = alpha * before
        ctx.save_for_backward(alpha, before, weights, pixels, blended)
        ctx.pairs = pairs
        gaussians = pairs.gaussians.index_select(0, pairs.order)
        return _weighted_sums(blended, gaussians, pairs.starts_in_order, weights)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "pixels C"]) -> tuple[Tensor, Tensor, None]:
        alpha, before, weights, pixels, blended = ctx.saved_tensors
        pairs: _Pairs = ctx.pairs
        of_weights = blended.index_select(0, pairs.gaussians)
        of_weights *= gradient.index_select(0, pairs.pixels)
        of_weights = of_weights.sum(1).index_select(0, pairs.order)
        sums = _sums(weights.double() * of_weights)
        ends = sums.index_select(0, pairs.starts_in_order[1:])
        behind = (ends.index_select(0, pixels) - sums[1:]).to(alpha)
        of_alpha = of_weights * before - behind / (1 - alpha)
        by_gaussian = torch.empty_like(weights).index_copy_(0, pairs.order, weights)
        of_blended = _weighted_sums(gradient, pairs.pixels, pairs.starts, by_gaussian)
        return torch.empty_like(of_alpha).index_copy_(0, pairs.order, of_alpha), of_blended, None


def _sums(values: Shaped[Tensor, "N"]) -> Shaped[Tensor, "ends"]:
    """Sum up the values before each, and all."""
    return torch.nn.functional.pad(values.cumsum(0), (1, 0))


def _weighted_sums(
    rows: Float[Tensor, "N C"],
    chosen: Int64[Tensor, "P"],
    starts: Int64[Tensor, "ends"],
    weights: Float[Tensor, "P"],
) -> Float[Tensor, "bags C"]:
    """Sum weighted rows from each start to the next."""
    return torch.nn.functional.embedding_bag(
        chosen,
        rows.contiguous(),
        starts,
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )
