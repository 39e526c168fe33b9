"""What each branch of the network shows in the image plane: semantic, depth and color maps.

The lift tells classes from the image itself. The rest is rendered: RenderFusion's camera volume has
depth, its LiDAR volume semantics, GSRefinement's Gaussians both; a fusion that renders the fused
volume has depth and color. Beside each stands what supervises it.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from mmengine.model import BaseModel
from torch import Tensor

from dataset.lidar_depth import depth_of_points
from dataset.sample import Batch, Sample, collate
from model.fusion import Field
from model.render.rays import Rays, pixel_centers, pixel_rays
from model.render.splat import Gaussians, splat
from model.render.views import label_views
from model.render.volume import render_volume, uniform_depths
from model.supervision import RenderOptions, class_scores
from model.unsocc import Outputs, UnsOcc
from utils.labels import FREE

SEMANTIC, DEPTH, COLOR = "semantic", "depth", "color"
SAMPLES_AT_ONCE = 2**21
"""Points at which a volume is sampled at once."""


class BranchMap(NamedTuple):
    """An image that a branch shows.

    Attributes:
        branch: "image", "LiDAR", "camera", "fused" or "Gaussians".
        kind: "semantic" (labels, 0 where the ray ends in nothing), "depth" ([m], 0 likewise) or
            "color" (RGB).
        values: The image.
        target: What supervises it, of the same kind; None where the frame has none. Labels are 255
            and depth is 0 where nothing supervises.
    """

    branch: str
    kind: str
    values: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]
    target: (
        UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"] | None
    )


class RenderedFrame(NamedTuple):
    """The maps of a frame, and what was predicted of it.

    Attributes:
        maps: In the order image, LiDAR, camera, fused volume, Gaussians.
        occupancy: Predicted label of each voxel.
        far_m: Greatest depth of a map [m].
    """

    maps: tuple[BranchMap, ...]
    occupancy: UInt8[np.ndarray, "X Y Z"]
    far_m: float


class _Targets(NamedTuple):
    """What supervises the maps of a frame, where it is there."""

    semantic: np.ndarray | None
    depth_m: np.ndarray | None
    lidar_depth_m: np.ndarray | None
    color: np.ndarray


@torch.no_grad()
def render_branches(
    network: BaseModel,
    sample: Sample,
    *,
    camera: int = 0,
    stride: int = 1,
    num_gaussians: int | None = None,
) -> RenderedFrame:
    """Render what each branch of an UnsOcc shows to one camera.

    Volumes are sampled every half voxel of theirs, more finely than in training.

    Args:
        network: The network, on its device; it is put into evaluation mode.
        sample: The frame; label and points, where it has any, are what the maps are compared with.
        camera: Number of the camera.
        stride: Image pixels along each edge of a pixel of the maps.
        num_gaussians: Gaussians a frame; None: as many as in training.

    Raises:
        ValueError: If the network renders nothing, the frame has no such camera, or the stride
            does not divide its image.
    """
    if not isinstance(network, UnsOcc) or network.rendering is None:
        raise ValueError(
            "this network renders nothing: the maps of the branches need an UnsOcc whose config "
            "has model.rendering, and a camera (modality both or camera)"
        )
    batch = network.eval().data_preprocessor(collate([sample]))["batch"]
    cameras = 0 if batch.images is None else batch.images.shape[1]
    if not 0 <= camera < cameras:
        raise ValueError(f"frame {sample.stem} has {cameras} cameras, from 0 on; got {camera}")
    outputs = network.infer(batch, with_fields=True)
    height, width = (length // stride for length in batch.images.shape[-2:])
    pixels = pixel_centers(*batch.images.shape[-2:], stride=stride, device=batch.images.device)
    rays = pixel_rays(batch.pixel_from_lidar[:, camera], pixels[None])
    targets = _targets(network, sample, batch, camera, stride)
    maps = _image_maps(outputs, camera, (height, width), targets)
    maps += _volume_maps(network, outputs, rays, (height, width), targets)
    if network.refinement is not None:
        gaussians = network.refinement(
            outputs.decoded,
            outputs.logits,
            batch.pixel_from_lidar[:, camera : camera + 1],
            (batch.images.shape[-2], batch.images.shape[-1]),
            num_gaussians=num_gaussians,
        )
        maps += _gaussian_maps(gaussians, batch, camera, stride, targets)
    if not maps:
        raise ValueError(
            "no branch of this network renders anything: its fusion has no fields and it has no "
            "refinement; use a config with RenderFusion, KNNFusion or GSRefinement"
        )
    occupancy = outputs.logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    return RenderedFrame(tuple(maps), occupancy, network.rendering.far_m)


def _image_maps(
    outputs: Outputs, camera: int, size: tuple[int, int], targets: _Targets
) -> list[BranchMap]:
    """The map of the classes that the lift tells from the image."""
    if outputs.camera is None or outputs.camera.class_logits is None:
        return []
    logits = class_scores(outputs.camera.class_logits[:, camera], size)[0]
    labels = (logits.argmax(dim=0) + 1).byte().cpu().numpy()
    return [BranchMap("image", SEMANTIC, labels, targets.semantic)]


def _volume_maps(
    network: UnsOcc, outputs: Outputs, rays: Rays, size: tuple[int, int], targets: _Targets
) -> list[BranchMap]:
    """Maps of the volumes that the fusion shows to a renderer."""
    fused, options = outputs.fused, network.rendering
    assert options is not None
    maps: list[BranchMap] = []
    if fused.lidar is not None and fused.lidar.features is not None:
        _, features, opacity = _render(network, fused.lidar, rays, options)
        assert features is not None
        labels = _best_label(features, opacity).reshape(size)
        maps.append(BranchMap("LiDAR", SEMANTIC, labels, targets.semantic))
    measured = targets.depth_m if targets.lidar_depth_m is None else targets.lidar_depth_m
    for branch, field in (("camera", fused.camera), ("fused", fused.fused)):
        if field is None:
            continue
        depth_m, features, opacity = _render(network, field, rays, options)
        shown = torch.where(opacity > 0.5, depth_m, 0.0).reshape(size).cpu().numpy()
        maps.append(BranchMap(branch, DEPTH, shown, measured))
        if features is not None:
            color = (255 * features).round().clamp(0, 255).byte().reshape(*size, 3).cpu().numpy()
            maps.append(BranchMap(branch, COLOR, color, targets.color))
    return maps


def _render(
    network: UnsOcc, field: Field, rays: Rays, options: RenderOptions
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Depth [m], features and opacity of each ray through a volume."""
    grid = network.feature_grid
    count = math.ceil((options.far_m - options.near_m) / (0.5 * grid.voxel_m))
    edges_m = uniform_depths(options.near_m, options.far_m, count, device=rays.origins.device)
    chunk = max(1, SAMPLES_AT_ONCE // count)
    density, values = (
        part if part is None else part.float() for part in (field.density, field.features)
    )
    assert density is not None
    parts = [
        render_volume(density, values, grid, Rays(origins, directions), edges_m)
        for origins, directions in zip(
            rays.origins.split(chunk, dim=1), rays.directions.split(chunk, dim=1), strict=True
        )
    ]
    features = None
    if values is not None:
        features = torch.cat([part.features[0] for part in parts if part.features is not None])
    opacity = torch.cat([part.opacity[0] for part in parts])
    # The mean depth of what stops the ray: what passes through stands at the far end.
    depth_m = torch.cat([part.depth_m[0] for part in parts])
    depth_m = (depth_m - (1 - opacity) * edges_m[-1]) / opacity.clamp_min(1e-6)
    return depth_m, features, opacity


def _gaussian_maps(
    gaussians: Gaussians, batch: Batch, camera: int, stride: int, targets: _Targets
) -> list[BranchMap]:
    """Maps of the refinement's Gaussians."""
    assert batch.images is not None
    assert batch.pixel_from_lidar is not None
    size = (batch.images.shape[-2], batch.images.shape[-1])
    projection = batch.pixel_from_lidar[:, camera : camera + 1]
    shrink = torch.diag(projection.new_tensor([1 / stride, 1 / stride, 1.0, 1.0]))
    image = splat(gaussians, shrink @ projection, size[0] // stride, size[1] // stride)
    opacity = image.opacity[0, 0]  # (H, W)
    labels = _best_label(image.features[0, 0], opacity)
    depth_m = torch.where(opacity > 0.5, image.depth_m[0, 0], 0.0).cpu().numpy()
    return [
        BranchMap("Gaussians", SEMANTIC, labels, targets.semantic),
        BranchMap("Gaussians", DEPTH, depth_m, targets.depth_m),
    ]


def _best_label(features: Tensor, opacity: Tensor) -> np.ndarray:
    """The most probable label of each pixel, free being what passes through all."""
    free = (1 - opacity)[..., None]
    classes = torch.cat([features[..., :FREE], free, features[..., FREE:]], dim=-1)
    return classes.argmax(dim=-1).byte().cpu().numpy()


def _targets(network: UnsOcc, sample: Sample, batch: Batch, camera: int, stride: int) -> _Targets:
    """What the maps are compared with."""
    assert batch.images is not None
    assert batch.pixel_from_lidar is not None
    rows, columns = batch.images.shape[-2:]
    size = (rows // stride, columns // stride)
    semantic = depth_m = lidar_depth_m = None
    if batch.occupancy is not None:
        projection = batch.pixel_from_lidar[:, camera : camera + 1]
        views = label_views(
            batch.occupancy, network.grid, projection, (rows, columns), stride=stride
        )
        semantic = views.hit.labels.reshape(size).cpu().numpy()
        depth_m = (views.hit.depth_m * views.hit.is_valid).reshape(size).cpu().numpy()
    if sample.points is not None:
        matrix = batch.pixel_from_lidar[0, camera].double().cpu().numpy()
        shrink = np.diag([1 / stride, 1 / stride, 1.0, 1.0])
        points = sample.points.cpu().numpy()
        lidar_depth_m = depth_of_points(shrink @ matrix, points, size)
    middle = stride // 2
    color = batch.images[0, camera, :, middle::stride, middle::stride]
    return _Targets(
        semantic, depth_m, lidar_depth_m, color.permute(1, 2, 0).round().byte().cpu().numpy()
    )
