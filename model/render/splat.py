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
from jaxtyping import Float
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
    gaussians: Gaussians, camera: SplitProjection, height: int, width: int, *, rows: int = 2
) -> Splatting:
    """The same in plain torch, for small images: a Gaussian is evaluated in all rows it reaches.

    Args:
        gaussians: What to render.
        camera: N cameras a frame.
        height: Rows of the images.
        width: Columns of the images.
        rows: Rows of pixels rendered at once.
    """
    size = camera.pixel_from_cam.new_tensor([width, height])
    u, v = (torch.arange(n, device=size.device, dtype=size.dtype) + 0.5 for n in (width, height))
    images = []
    batch, cameras = camera.cam_from_lidar.shape[:2]
    for frame, index in product(range(batch), range(cameras)):
        one = Gaussians(*(field[frame] for field in gaussians))
        place = (camera.pixel_from_cam[frame, index], camera.cam_from_lidar[frame, index])
        projected = _project(one, *place, size)
        parts = [_blend(_in_rows(projected, part), u, part) for part in v.split(rows)]
        images.append([torch.cat(values) for values in zip(*parts, strict=True)])
    features, depth, opacity = (torch.stack(values) for values in zip(*images, strict=True))
    shape = (batch, cameras, height, width)
    return Splatting(features.view(*shape, -1), depth.view(shape), opacity.view(shape))


class _Projected(NamedTuple):
    """Gaussians on the image plane, nearest first.

    Attributes:
        means_px: Their centers.
        spread_px2: Variance along the image's columns.
        conic: Inverse of the covariance: its elements uu, uv and vv.
        opacities: In [0, 1].
        blended: What is blended: features, depth [m], and 1 for the opacity.
    """

    means_px: Float[Tensor, "G 2"]
    spread_px2: Float[Tensor, "G"]
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
    return _Projected(slopes * focal + center, vv, conic, one.opacities[order], blended)


def _in_rows(projected: _Projected, v: Float[Tensor, "rows"]) -> _Projected:
    """Drop the Gaussians that are too faint to count anywhere in the rows of pixels at ``v``."""
    center = projected.means_px[:, 1].detach()
    away = (v.min() - center).clamp_min(0) + (center - v.max()).clamp_min(0)
    # Along a row none is more opaque than o · exp(−½ dv² / Σ'vv).
    alpha = projected.opacities.detach() * torch.exp(-0.5 * away**2 / projected.spread_px2.detach())
    (reaching,) = torch.nonzero(alpha >= 0.99 * MIN_ALPHA, as_tuple=True)
    return _Projected(*(field.index_select(0, reaching) for field in projected))


def _blend(
    projected: _Projected, u: Float[Tensor, "columns"], v: Float[Tensor, "rows"]
) -> tuple[Float[Tensor, "P C"], Float[Tensor, "P"], Float[Tensor, "P"]]:
    """Blend the Gaussians at the pixels of all columns ``u`` in the rows ``v``."""
    du, dv = u[:, None] - projected.means_px[:, 0], v[:, None] - projected.means_px[:, 1]
    uu, uv, vv = (-0.5 * projected.conic).unbind(-1)
    # −½ dᵀ Σ'⁻¹ d: what depends on one of both is computed for it alone.
    exponent = (
        uu * du**2 + (2 * uv * du) * dv[:, None] + (vv * dv**2)[:, None]
    )  # (rows, columns, G)
    alpha = (projected.opacities * torch.exp(exponent)).clamp_max(MAX_ALPHA).flatten(0, 1)
    alpha = alpha * (alpha >= MIN_ALPHA)
    passed = torch.cumprod(1.0 - alpha, dim=-1)
    before = torch.nn.functional.pad(passed, (1, 0), value=1.0)[:, :-1]
    weights = alpha * before * (passed > MIN_TRANSMITTANCE)
    values = weights @ projected.blended
    features, depth, opacity = values[:, :-2], values[:, -2], values[:, -1]
    return features, depth / opacity.clamp_min(1e-10), opacity
