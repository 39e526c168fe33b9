"""The slow splatting against a Gaussian worked by hand, its gradients, and gsplat on a GPU."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from model.render.splat import (
    MAX_ALPHA,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    Gaussians,
    Splatting,
    SplitProjection,
    _project,
    compiled_rasterization,
    splat,
    splat_slowly,
    split_projection,
)

HEIGHT, WIDTH = 24, 32


@pytest.mark.parametrize("backend", [None, SimpleNamespace(_C=None)])
def test_without_kernels_it_is_said_what_to_do(monkeypatch, backend):
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", backend)
    with pytest.raises(OSError, match=r"install the CUDA toolkit .* model.parts.refinement=None"):
        compiled_rasterization()


def projection(*, mirrored: bool = False) -> Tensor:
    """A camera at the origin that looks along x; mirrored left and right if asked."""
    pixel_from_cam = torch.eye(4)
    pixel_from_cam[:2, :3] = torch.tensor([[40.0, 0, 16], [0, 44, 12]])
    cam_from_lidar = torch.tensor([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    mirror = torch.eye(4)
    if mirrored:
        mirror[0, 0], mirror[0, 2] = -1.0, float(WIDTH)
    return (mirror @ pixel_from_cam @ cam_from_lidar)[None, None]


def cloud(count: int, *, batch: int = 1, dtype: torch.dtype = torch.float32) -> Gaussians:
    """Random Gaussians in front of the camera."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.rand(batch, count, *shape, generator=generator, dtype=dtype)

    low, size = torch.tensor([4.0, -3, -2], dtype=dtype), torch.tensor([8.0, 6, 4], dtype=dtype)
    return Gaussians(
        means_m=low + size * draw(3),
        scales_m=0.05 + 0.4 * draw(3),
        rotations=draw(4) - 0.5,
        opacities=draw(),
        features=draw(3),
    )


def single(opacity: float = 0.8) -> Gaussians:
    """One Gaussian, 0.5 m wide, 10 m ahead on the axis."""
    return Gaussians(
        means_m=torch.tensor([[[10.0, 0.0, 0.0]]]),
        scales_m=torch.full((1, 1, 3), 0.5),
        rotations=torch.tensor([[[1.0, 0, 0, 0]]]),
        opacities=torch.tensor([[opacity]]),
        features=torch.tensor([[[2.0, -1.0]]]),
    )


def test_a_single_gaussian_by_hand() -> None:
    picture = splat(single(), projection(), HEIGHT, WIDTH)
    # Its spread on the image: (f · 0.5 / 10)² + 0.3 = 4.3 px² across and 5.14 px² down. The pixel
    # (row 12, column 18) has its center 2.5 px right of and 0.5 px below the Gaussian's.
    alpha = 0.8 * math.exp(-0.5 * (2.5**2 / 4.3 + 0.5**2 / 5.14))
    assert picture.opacity[0, 0, 12, 18].item() == pytest.approx(alpha, rel=1e-5)
    assert picture.features[0, 0, 12, 18].tolist() == pytest.approx([2 * alpha, -alpha], rel=1e-5)
    assert picture.depth_m[0, 0, 12, 18].item() == pytest.approx(10.0, rel=1e-5)
    assert picture.opacity[0, 0, 0, 0].item() == 0.0
    assert picture.depth_m[0, 0, 0, 0].item() == 0.0


def test_the_nearer_gaussian_covers_the_farther_one() -> None:
    near, far = single(0.6), single(0.9)
    far = far._replace(means_m=far.means_m * 2, features=far.features * 10)
    both = Gaussians(*(torch.cat(pair, dim=1) for pair in zip(far, near, strict=True)))
    picture = splat(both, projection(), HEIGHT, WIDTH)
    one, other = (splat(each, projection(), HEIGHT, WIDTH) for each in (near, far))
    expected = one.features + (1 - one.opacity[..., None]) * other.features
    torch.testing.assert_close(picture.features, expected)
    weight = (1 - one.opacity) * other.opacity
    depth = (one.opacity * 10 + weight * 20) / (one.opacity + weight).clamp_min(1e-10)
    torch.testing.assert_close(picture.depth_m, depth)


def test_gaussians_behind_the_camera_are_not_seen() -> None:
    behind = single()._replace(means_m=torch.tensor([[[-10.0, 0.0, 0.0]]]))
    assert splat(behind, projection(), HEIGHT, WIDTH).opacity.abs().max() == 0


def test_a_mirrored_projection_gives_the_mirrored_image() -> None:
    plain = splat(cloud(40), projection(), HEIGHT, WIDTH)
    mirrored = splat(cloud(40), projection(mirrored=True), HEIGHT, WIDTH)
    torch.testing.assert_close(mirrored.features, plain.features.flip(3), atol=1e-5, rtol=1e-4)


def test_projection_comes_apart_and_together() -> None:
    camera = split_projection(projection(mirrored=True))
    whole = camera.pixel_from_cam @ camera.cam_from_lidar[..., :3, :]
    torch.testing.assert_close(whole, projection(mirrored=True)[..., :3, :])
    assert (camera.pixel_from_cam.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_frames_of_a_batch_and_chunks_of_rows_do_not_mix() -> None:
    gaussians = cloud(20, batch=2)
    camera = projection().expand(2, 1, 4, 4)
    both = splat(gaussians, camera, HEIGHT, WIDTH)
    last = Gaussians(*(field[1:] for field in gaussians))
    alone = splat_slowly(last, split_projection(projection()), HEIGHT, WIDTH, at_once=100)
    torch.testing.assert_close(both.features[1:], alone.features)


def blend_everywhere(gaussians: Gaussians, camera: SplitProjection) -> Tensor:
    """Features of one frame from the alphas of all Gaussians at all pixels, as the paper says."""
    one = Gaussians(*(field[0] for field in gaussians))
    place = (camera.pixel_from_cam[0, 0], camera.cam_from_lidar[0, 0])
    projected = _project(one, *place, torch.tensor([WIDTH, HEIGHT]))
    v, u = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    away = torch.stack([u, v], dim=-1)[:, :, None] - projected.means_px
    uu, uv, vv = projected.conic.unbind(-1)
    distance = uu * away[..., 0] ** 2 + 2 * uv * away.prod(-1) + vv * away[..., 1] ** 2
    alpha = (projected.opacities * torch.exp(-0.5 * distance)).clamp_max(MAX_ALPHA)
    alpha = alpha * (alpha >= MIN_ALPHA)
    passed = torch.cumprod(1 - alpha, dim=-1)
    before = torch.cat([torch.ones_like(passed[..., :1]), passed[..., :-1]], dim=-1)
    weights = alpha * before * (passed > MIN_TRANSMITTANCE)
    return weights @ projected.blended[:, :-2]


@pytest.mark.parametrize("opacity", [0.3, 1.0])  # With 1, rays end before the last Gaussians.
def test_it_blends_what_all_gaussians_at_all_pixels_give(opacity: float) -> None:
    camera = split_projection(projection())
    fields = [field.requires_grad_() for field in cloud(200)]
    gaussians = Gaussians(*fields)._replace(opacities=opacity * torch.ones(1, 200))
    found = splat_slowly(gaussians, camera, HEIGHT, WIDTH).features[0, 0]
    expected = blend_everywhere(gaussians, camera)
    torch.testing.assert_close(found, expected)
    of = torch.randn(found.shape)
    reaching = [field for field in fields if field is not fields[3]]
    gradients = [torch.autograd.grad(image, reaching, of) for image in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_cameras_of_a_frame_do_not_mix() -> None:
    cameras = torch.cat([projection(mirrored=True), projection()], dim=1)
    both = splat(cloud(20), cameras, HEIGHT, WIDTH)
    for index, mirrored in enumerate((True, False)):
        alone = splat(cloud(20), projection(mirrored=mirrored), HEIGHT, WIDTH)
        for field, field_alone in zip(both, alone, strict=True):
            torch.testing.assert_close(field[:, index], field_alone[:, 0])


def test_gradients_of_every_field() -> None:
    camera = split_projection(projection())
    camera = type(camera)(*(field.double() for field in camera))
    fields = [field.requires_grad_() for field in cloud(3, dtype=torch.float64)]

    def picture(*fields: Tensor) -> tuple[Tensor, Tensor]:
        splatting = splat_slowly(Gaussians(*fields), camera, 4, 5)
        return splatting.features, splatting.opacity

    # Opacities of at most 0.8 and short images keep clear of the thresholds' jumps.
    assert torch.autograd.gradcheck(picture, fields, atol=1e-5)


@pytest.mark.gpu
def test_gsplat_gives_the_same_values_and_gradients() -> None:
    def run(device: str) -> tuple[Splatting, list[Tensor]]:
        fields = [field.to(device).requires_grad_() for field in cloud(300, batch=2)]
        cameras = torch.cat([projection(), projection(mirrored=True)], dim=1)
        camera = cameras.expand(2, 2, 4, 4).to(device)
        picture = splat(Gaussians(*fields), camera, HEIGHT, WIDTH)
        (picture.features.square().mean() + picture.opacity.mean()).backward()
        gradients = [field.grad.cpu() for field in fields if field.grad is not None]
        return Splatting(*(field.detach().cpu() for field in picture)), gradients

    (slow, slow_gradients), (fast, fast_gradients) = run("cpu"), run("cuda")
    for slow_field, fast_field in zip(slow, fast, strict=True):
        torch.testing.assert_close(fast_field, slow_field, atol=2e-3, rtol=1e-3)
    assert len(fast_gradients) == 5
    for slow_field, fast_field in zip(slow_gradients, fast_gradients, strict=True):
        torch.testing.assert_close(fast_field, slow_field, atol=1e-5, rtol=2e-2)
