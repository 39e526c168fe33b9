"""Supervision in the image plane: the loss terms that compare renderings with labels.

The labels of pixels are those of voxels, which ``UnsOcc.losses`` has checked: they are counted on
the device only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from loss.label_counts import LabelCounts
from loss.occupancy import cross_entropy, lovasz_softmax
from loss.rendering import (
    rendered_color,
    rendered_depth,
    rendered_lovasz,
    rendered_semantics,
    termination_alignment,
)
from model.fusion import Field, Fused
from model.novel_view import log_free_of, occupancy_density, voxel_edges
from model.render.rays import Rays, pixel_rays
from model.render.splat import Gaussians, splat
from model.render.views import Views
from model.render.volume import Rendering, render_volume, uniform_depths
from utils.geometry import VoxelGrid
from utils.labels import IGNORE


@dataclass(frozen=True)
class RenderOptions:
    """What training renders.

    Attributes:
        stride: Image pixels along each edge of a rendered pixel.
        ray_step: Rendered pixels between rays through the volumes, along each axis.
        near_m: Camera depth where rays begin [m].
        far_m: Camera depth where rays end, and beyond which no depth counts [m].
        num_segments: Samples of a volume along a ray.
        virtual: Additional cameras for the Gaussians, of ``VIRTUAL_CAMERAS``.
        novel_views: Other frames of the scene whose depth also supervises the predicted occupancy,
            from their own poses; 0: no novel views.
        novel_rays: Rays a frame for that, through random pixels with a depth label.

    Raises:
        ValueError: If a number is out of its range.
    """

    stride: int
    ray_step: int
    near_m: float
    far_m: float
    num_segments: int
    virtual: tuple[str, ...] = ()
    novel_views: int = 0
    novel_rays: int = 4096

    def __post_init__(self) -> None:
        """Check the fields."""
        positive = self.stride >= 1 and self.ray_step >= 1 and self.num_segments >= 1
        if not positive or not 0 <= self.near_m < self.far_m:
            raise ValueError(
                "rendering needs a positive stride, ray_step and num_segments and "
                f"0 <= near_m < far_m, got {self}"
            )
        if self.novel_views < 0 or self.novel_rays < 1:
            raise ValueError(
                "rendering needs novel_views >= 0 and a positive novel_rays, got "
                f"{self.novel_views} and {self.novel_rays}"
            )


def image_terms(
    class_logits: Float[Tensor, "B N C h w"],
    views: Views,
    class_weight: Float[Tensor, "classes"],
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the image semantics that the lift predicts, in the real cameras.

    Args:
        class_logits: Scores of each class but free, at the cells of the feature map.
        views: Views of the labels.
        class_weight: Weight of each class, free first.
    """
    size = (views.height, views.width)
    logits = class_scores(class_logits.flatten(0, 1), size)
    cameras = class_logits.shape[1]
    labels = views.hit.labels.unflatten(1, (-1, *size))[:, :cameras].flatten(0, 1)
    # Rays that hit nothing have no label, so no pixel is "free".
    labels = labels.where(labels == IGNORE, labels - 1)
    counts = LabelCounts(labels, logits.shape[1])
    return {
        "image_semantic": cross_entropy(logits, labels, class_weight[1:], counts),
        "image_lovasz": lovasz_softmax(logits, labels, counts),
    }


def class_scores(
    class_logits: Float[Tensor, "M C h w"], size: tuple[int, int]
) -> Float[Tensor, "M C H W"]:
    """Scores at the pixels of an image, interpolated from the cells of its feature map."""
    return interpolate(class_logits.float(), size, mode="bilinear", align_corners=False)


class RayTargets(NamedTuple):
    """Rays through the volumes, and what they should see.

    Attributes:
        rays: Rays of the real cameras.
        labels: Class of the first voxel along each ray; 255 where no label counts.
        depth_m: Camera depth of the surface [m]; 0 where no depth counts.
        colors: RGB of the images, 0–1.
    """

    rays: Rays
    labels: UInt8[Tensor, "B R"]
    depth_m: Float[Tensor, "B R"]
    colors: Float[Tensor, "B R 3"]


def ray_targets(
    views: Views,
    images: UInt8[Tensor, "B N 3 H W"],
    depth_m: Float[Tensor, "B N H W"] | None,
    grid: VoxelGrid,
    options: RenderOptions,
) -> RayTargets:
    """Choose the rays through the volumes, and read what supervises them.

    Args:
        views: Views of the labels.
        images: The real images, 0–255.
        depth_m: LiDAR depth of their pixels [m], 0 where there is none; surfaces outside the grid
            do not count. None: depth of the labels.
        grid: The volumes' grid.
        options: Which rays are cast.
    """
    chosen = chosen_rays(views, images.shape[1], options.ray_step)
    rays = Rays(*(part[:, chosen] for part in views.rays))
    if depth_m is None:
        target_m = (views.hit.depth_m * views.hit.is_valid)[:, chosen]
    else:
        target_m = at_rays(depth_m[:, :, None], options.stride)[:, chosen, 0]
        # No volume can end a ray outside itself: it would learn walls at its border.
        target_m = target_m * grid.contains(rays.at(target_m[..., None])[:, :, 0])
    colors = at_rays(images, options.stride)[:, chosen] / 255
    return RayTargets(rays, views.hit.labels[:, chosen], target_m, colors)


def volume_terms(
    fused: Fused,
    grid: VoxelGrid,
    targets: RayTargets,
    class_weight: Float[Tensor, "classes"],
    options: RenderOptions,
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the rendered volumes, by the real cameras.

    Args:
        fused: The volumes as a renderer sees them; fields that are None have no terms.
        grid: The volumes' grid.
        targets: The rays, and what they should see.
        class_weight: Weight of each class, free first.
        options: How rays are cast.
    """
    edges_m = uniform_depths(
        options.near_m, options.far_m, options.num_segments, device=targets.depth_m.device
    )

    def render(field: Field | None) -> Rendering | None:
        return field and render_volume(field.density, field.features, grid, targets.rays, edges_m)

    camera, lidar, both = render(fused.camera), render(fused.lidar), render(fused.fused)
    terms = {}
    for rendering in (camera, both):  # No fusion has both.
        if rendering is not None:
            terms["render_depth"] = rendered_depth(
                rendering.depth_m, targets.depth_m, max_depth_m=options.far_m
            )
    if lidar is not None and lidar.features is not None:
        counts = LabelCounts(targets.labels, len(class_weight))
        terms["render_semantic"] = rendered_semantics(
            lidar.features, lidar.opacity, targets.labels, class_weight, counts
        )
    if camera is not None and lidar is not None:
        terms["render_alignment"] = termination_alignment(camera.weights, lidar.weights)
    if both is not None and both.features is not None:
        terms["render_color"] = rendered_color(
            both.features, both.opacity, targets.colors, targets.labels
        )
    return terms


def splat_terms(
    gaussians: Gaussians,
    views: Views,
    class_weight: Float[Tensor, "classes"],
    options: RenderOptions,
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the splatted Gaussians, in all cameras.

    Args:
        gaussians: Gaussians with the probability of each class but free as features.
        views: Views of the labels.
        class_weight: Weight of each class, free first.
        options: How far depth counts.
    """
    rendered = splat(gaussians, views.pixel_from_lidar, views.height, views.width)
    probability, opacity = rendered.features.flatten(1, 3), rendered.opacity.flatten(1)
    target_m = views.hit.depth_m * views.hit.is_valid
    # Pixels without a Gaussian have no depth to correct.
    target_m = target_m * (opacity.detach() > 0)
    labels = views.hit.labels
    counts = LabelCounts(labels, len(class_weight))
    return {
        "splat_semantic": rendered_semantics(probability, opacity, labels, class_weight, counts),
        "splat_lovasz": rendered_lovasz(probability, opacity, labels, counts),
        "splat_depth": rendered_depth(
            rendered.depth_m.flatten(1), target_m, max_depth_m=options.far_m
        ),
    }


def novel_depth_term(
    logits: Float[Tensor, "B classes X Y Z"],
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B V 4 4"],
    depth_m: Float[Tensor, "B V H W"],
    options: RenderOptions,
) -> Float[Tensor, ""]:
    """Depth error of the predicted occupancy, in cameras anywhere.

    Args:
        logits: Class scores, which give P(occupied) and with it the density.
        grid: Grid of the logits. Labels of surfaces outside it do not count.
        pixel_from_lidar: Projections into the views.
        depth_m: Depth labels of their pixels [m]; 0 where there is none.
        options: How many rays are cast, and how far.
    """
    view, pixels, target_m = labeled_pixels(depth_m, options.novel_rays)
    matrices = pixel_from_lidar[torch.arange(len(view), device=view.device)[:, None], view]
    flat = pixel_rays(matrices.flatten(0, 1), pixels.flatten(0, 1)[:, None])
    rays = Rays(*(part.view(*pixels.shape[:2], 3) for part in flat))
    is_inside = grid.contains(rays.at(target_m[..., None])[:, :, 0])
    edges_m = voxel_edges(grid, options.near_m, options.far_m, logits.device)
    density = occupancy_density(log_free_of(logits.float()), grid.voxel_m)
    rendering = render_volume(density, None, grid, rays, edges_m, nearest=True)
    return rendered_depth(rendering.depth_m, target_m * is_inside, max_depth_m=options.far_m)


def labeled_pixels(
    depth_m: Float[Tensor, "B V H W"], number: int
) -> tuple[Int64[Tensor, "B R"], Float[Tensor, "B R 2"], Float[Tensor, "B R"]]:
    """Random pixels with a depth label, from all views of a frame.

    LiDAR labels few pixels; rays on a regular lattice would mostly miss them.

    Args:
        depth_m: Depth labels [m]; 0 where there is none.
        number: Pixels a frame, at most. If fewer have a label, pixels without one fill up.

    Returns:
        View, center (u, v) and label of each pixel; a label of 0 for those without one.
    """
    height, width = depth_m.shape[-2:]
    flat = depth_m.flatten(1)
    order = (1 + torch.rand_like(flat)) * (flat > 0)
    chosen = order.topk(min(number, flat.shape[1]), dim=1, sorted=False).indices
    row, column = chosen % (height * width) // width, chosen % width
    pixels = torch.stack((column, row), dim=-1) + 0.5
    return chosen // (height * width), pixels, flat.gather(1, chosen)


def chosen_rays(views: Views, cameras: int, step: int) -> Int64[Tensor, "R"]:
    """Indices of every ``step``-th ray of the first cameras, along rows and columns."""
    device = views.rays.origins.device
    index = torch.arange(cameras * views.height * views.width, device=device)
    index = index.view(cameras, views.height, views.width)
    return index[:, step // 2 :: step, step // 2 :: step].flatten()


def at_rays(images: Shaped[Tensor, "B N C H W"], stride: int) -> Shaped[Tensor, "B R C"]:
    """Values of the real images at the pixels that contain the rays."""
    middle = stride // 2
    return images[..., middle::stride, middle::stride].movedim(2, -1).flatten(1, 3)
