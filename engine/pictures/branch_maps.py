"""Maps of the network's branches in the image plane: semantics, depth and color.

The lift predicts classes from the image itself. The others are rendered: depth from RenderFusion's
camera volume, semantics from its LiDAR volume, both from GSRefinement's Gaussians, and depth and
color from the fused volume of a fusion that renders it. Each map comes with its target.
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
from model.labels import choose_labels
from model.outputs import Outputs
from model.render.rays import Rays, pixel_centers, pixel_rays
from model.render.splat import Gaussians, splat
from model.render.views import label_views
from model.render.volume import render_volume, uniform_depths
from model.supervision import RenderOptions, class_scores
from model.unsocc import UnsOcc
from utils.labels import FREE

SEMANTIC, DEPTH, COLOR = "semantic", "depth", "color"
SAMPLES_AT_ONCE = 2**21
"""Maximum number of points at which a volume is sampled at once."""


class BranchMap(NamedTuple):
    """A map of a branch in the image plane.

    Attributes:
        branch: "image", "LiDAR", "camera", "fused" or "Gaussians".
        kind: "semantic" (labels, 0 where the ray hits nothing), "depth" ([m], likewise) or
            "color" (RGB).
        values: The map.
        target: Target of the same kind; None if the frame has none. Unsupervised pixels have label
            255 or depth 0.
    """

    branch: str
    kind: str
    values: UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]
    target: (
        UInt8[np.ndarray, "H W"] | Float32[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"] | None
    )


class RenderedFrame(NamedTuple):
    """The maps of a frame, and its predicted occupancy.

    Attributes:
        maps: In the order image, LiDAR volume, camera volume, fused volume, Gaussians.
        occupancy: Predicted label of each voxel.
        far_m: Maximum depth of a map [m].
    """

    maps: tuple[BranchMap, ...]
    occupancy: UInt8[np.ndarray, "X Y Z"]
    far_m: float


class _Targets(NamedTuple):
    """Targets of the maps of a frame; None if missing."""

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
    """Render the maps of an UnsOcc's branches for one camera.

    Volumes are sampled every half voxel, more finely than in training.

    Args:
        network: The network, on its device; it is switched to evaluation mode.
        sample: The frame; its label and points, if any, become targets.
        camera: Index of the camera.
        stride: Image pixels per map pixel along each axis.
        num_gaussians: Gaussians per frame; None: as in training.

    Raises:
        ValueError: If the network renders nothing, the frame has no such camera, or the stride
            does not divide its image.
    """
    if not isinstance(network, UnsOcc) or network.rendering is None:
        raise ValueError(
            "this network renders nothing: branch maps need an UnsOcc whose config has "
            "model.rendering and modality 'both' or 'camera'"
        )
    batch = network.eval().data_preprocessor(collate([sample]))["batch"]
    cameras = 0 if batch.images is None else batch.images.shape[1]
    if not 0 <= camera < cameras:
        raise ValueError(
            f"frame {sample.stem} has {cameras} cameras, numbered from 0; got {camera}"
        )
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
            "no branch of this network renders anything: it has neither fields in its fusion nor a "
            "refinement; use a config with RenderFusion, KNNFusion or GSRefinement"
        )
    occupancy = choose_labels(outputs.logits[0], network.occupied_threshold).cpu().numpy()
    return RenderedFrame(tuple(maps), occupancy, network.rendering.far_m)


def _image_maps(
    outputs: Outputs, camera: int, size: tuple[int, int], targets: _Targets
) -> list[BranchMap]:
    """Return the semantic map that the lift predicts from the image."""
    if outputs.camera is None or outputs.camera.class_logits is None:
        return []
    logits = class_scores(outputs.camera.class_logits[:, camera], size)[0]
    labels = (logits.argmax(dim=0) + 1).byte().cpu().numpy()
    return [BranchMap("image", SEMANTIC, labels, targets.semantic)]


def _volume_maps(
    network: UnsOcc, outputs: Outputs, rays: Rays, size: tuple[int, int], targets: _Targets
) -> list[BranchMap]:
    """Render the maps of the fusion's volumes."""
    fused, options = outputs.fused, network.rendering
    assert options is not None
    maps: list[BranchMap] = []
    if fused.lidar is not None and fused.lidar.features is not None:
        _, features, opacity = _render(network, fused.lidar, rays, options)
        assert features is not None
        labels = _best_label(features, opacity).reshape(size)
        maps.append(BranchMap("LiDAR", SEMANTIC, labels, targets.semantic))
    depth_target = targets.depth_m if targets.lidar_depth_m is None else targets.lidar_depth_m
    for branch, field in (("camera", fused.camera), ("fused", fused.fused)):
        if field is None:
            continue
        depth_m, features, opacity = _render(network, field, rays, options)
        shown = torch.where(opacity > 0.5, depth_m, 0.0).reshape(size).cpu().numpy()
        maps.append(BranchMap(branch, DEPTH, shown, depth_target))
        if features is not None:
            color = (255 * features).round().clamp(0, 255).byte().reshape(*size, 3).cpu().numpy()
            maps.append(BranchMap(branch, COLOR, color, targets.color))
    return maps


def _render(
    network: UnsOcc, field: Field, rays: Rays, options: RenderOptions
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Render depth [m], features and opacity of each ray through a volume."""
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
    # Mean depth of the part that is absorbed: the transmitted part counts at the far end.
    depth_m = torch.cat([part.depth_m[0] for part in parts])
    depth_m = (depth_m - (1 - opacity) * edges_m[-1]) / opacity.clamp_min(1e-6)
    return depth_m, features, opacity


def _gaussian_maps(
    gaussians: Gaussians, batch: Batch, camera: int, stride: int, targets: _Targets
) -> list[BranchMap]:
    """Render the maps of the refinement's Gaussians."""
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
    """Return the most probable label of each pixel; the transmittance is the share of free."""
    free = (1 - opacity)[..., None]
    classes = torch.cat([features[..., :FREE], free, features[..., FREE:]], dim=-1)
    return classes.argmax(dim=-1).byte().cpu().numpy()


def _targets(network: UnsOcc, sample: Sample, batch: Batch, camera: int, stride: int) -> _Targets:
    """Return the targets of the maps."""
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
