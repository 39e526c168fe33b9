"""What rendering teaches: the terms of the loss that compare rendered pictures with labels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from loss.rendering import (
    rendered_colour,
    rendered_depth,
    rendered_lovasz,
    rendered_semantics,
    termination_alignment,
)
from model.fusion import Field, Fused
from model.render.rays import Rays
from model.render.splat import Gaussians, splat
from model.render.views import Views
from model.render.volume import Rendering, render_volume, uniform_depths
from utils.geometry import VoxelGrid


@dataclass(frozen=True)
class RenderOptions:
    """Pictures that training renders.

    Attributes:
        stride: Image pixels along each edge of a pixel of the pictures.
        ray_step: Rays through the volumes go through every so many pixels of the pictures.
        near_m: Camera depth where rays begin [m].
        far_m: Camera depth where they end, and beyond which no depth counts [m].
        num_segments: Samples of a volume along a ray.
        virtual: Further cameras that the Gaussians are seen by, of ``VIRTUAL_CAMERAS``.

    Raises:
        ValueError: If a number is out of its range.
    """

    stride: int
    ray_step: int
    near_m: float
    far_m: float
    num_segments: int
    virtual: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        positive = self.stride >= 1 and self.ray_step >= 1 and self.num_segments >= 1
        if not positive or not 0 <= self.near_m < self.far_m:
            raise ValueError(
                "rendering needs a positive stride, ray_step and num_segments and "
                f"0 <= near_m < far_m, got {self}"
            )


def volume_terms(
    fused: Fused,
    grid: VoxelGrid,
    views: Views,
    images: Float[Tensor, "B N 3 H W"],
    depth_m: Float[Tensor, "B N H W"] | None,
    class_weight: Float[Tensor, "classes"],
    options: RenderOptions,
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the volumes' own pictures, by the real cameras.

    Args:
        fused: The volumes as a renderer sees them; those that are None have no terms.
        grid: Where they stand.
        views: Pictures of the labels.
        images: The real images, 0–1.
        depth_m: Their depth by LiDAR [m]; None: by the labels.
        class_weight: Weight of each class, free first.
        options: How rays are cast.
    """
    chosen = chosen_rays(views, images.shape[1], options.ray_step)
    rays = Rays(*(part[:, chosen] for part in views.rays))
    edges_m = uniform_depths(
        options.near_m, options.far_m, options.num_segments, device=images.device
    )

    def render(field: Field | None) -> Rendering | None:
        return field and render_volume(field.density, field.features, grid, rays, edges_m)

    camera, lidar, both = render(fused.camera), render(fused.lidar), render(fused.fused)
    labels = views.hit.labels[:, chosen]
    target_m = (views.hit.depth_m * views.hit.is_valid)[:, chosen]
    if depth_m is not None:
        target_m = at_rays(depth_m[:, :, None], options.stride)[:, chosen, 0]
    terms = {}
    for rendering in (camera, both):  # No fusion has both.
        if rendering is not None:
            terms["render_depth"] = rendered_depth(
                rendering.depth_m, target_m, max_depth_m=options.far_m
            )
    if lidar is not None and lidar.features is not None:
        terms["render_semantic"] = rendered_semantics(
            lidar.features, lidar.opacity, labels, class_weight
        )
    if camera is not None and lidar is not None:
        terms["render_alignment"] = termination_alignment(camera.weights, lidar.weights)
    if both is not None and both.features is not None:
        colours = at_rays(images, options.stride)[:, chosen]
        terms["render_colour"] = rendered_colour(both.features, both.opacity, colours, labels)
    return terms


def splat_terms(
    gaussians: Gaussians,
    views: Views,
    class_weight: Float[Tensor, "classes"],
    options: RenderOptions,
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the Gaussians' dense pictures, by all cameras.

    Args:
        gaussians: With the probability of each class but free as features.
        views: Pictures of the labels.
        class_weight: Weight of each class, free first.
        options: How far depth counts.
    """
    picture = splat(gaussians, views.pixel_from_lidar, views.height, views.width)
    probability, opacity = picture.features.flatten(1, 3), picture.opacity.flatten(1)
    target_m = views.hit.depth_m * views.hit.is_valid
    # Where no Gaussian is, there is no depth to correct; the classes ask for one there.
    target_m = target_m * (opacity.detach() > 0)
    return {
        "splat_semantic": rendered_semantics(probability, opacity, views.hit.labels, class_weight),
        "splat_lovasz": rendered_lovasz(probability, opacity, views.hit.labels),
        "splat_depth": rendered_depth(
            picture.depth_m.flatten(1), target_m, max_depth_m=options.far_m
        ),
    }


def chosen_rays(views: Views, cameras: int, step: int) -> Int64[Tensor, "R"]:
    """Indices of every ``step``-th ray of the first cameras, along rows and columns."""
    device = views.rays.origins.device
    index = torch.arange(cameras * views.height * views.width, device=device)
    index = index.view(cameras, views.height, views.width)
    return index[:, step // 2 :: step, step // 2 :: step].flatten()


def at_rays(images: Float[Tensor, "B N C H W"], stride: int) -> Float[Tensor, "B R C"]:
    """Values of the real images at the pixels that hold the rays."""
    middle = stride // 2
    return images[..., middle::stride, middle::stride].movedim(2, -1).flatten(1, 3)
