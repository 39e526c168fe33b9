"""Score the depth of the camera branch against depth labels."""

from operator import attrgetter

import torch
from jaxtyping import Float
from mmengine.config import Config
from torch import Tensor
from torch.nn.functional import interpolate

from dataset.frame_dataset import FrameDataset
from dataset.lost_sensors import LossWatch
from dataset.sample import Batch, collate
from engine.build.build import build_dataset, input_fields, sensors_of, share_of
from engine.build.loader import FrameLoader
from engine.metrics.depth import DepthMeter
from model.lift import DepthBins
from model.outputs import Outputs
from model.render.rays import Rays, pixel_centers, pixel_rays
from model.render.volume import render_volume, uniform_depths
from model.unsocc import UnsOcc
from utils.distributed import Process
from utils.progress import with_progress

SOURCES = {
    "lift": "expected depth of the lift's distributions",
    "rendered": "depth rendered from the camera's volume",
}


def expected_depth(
    depth_logits: Float[Tensor, "B N D h w"], bins: DepthBins
) -> Float[Tensor, "B N h w"]:
    """Return the mean of depth distributions over the bin centers [m]."""
    edges_m = bins.edges_m().to(depth_logits.device)
    centers_m = (edges_m[1:] + edges_m[:-1]) / 2
    return torch.einsum("bndhw,d->bnhw", depth_logits.float().softmax(dim=2), centers_m)


def rendered_depth(network: UnsOcc, outputs: Outputs, batch: Batch) -> Float[Tensor, "B N h w"]:
    """Render depth of the camera's field, or else the fused one, at the training resolution [m].

    Args:
        network: The network, which sets the rays.
        outputs: Its outputs for the batch, with fields.
        batch: Images and projections of the frames.

    Raises:
        ValueError: If the network does not render, or its fusion has no such field.
    """
    options = network.rendering
    field = outputs.fused.camera or outputs.fused.fused
    if options is None or field is None:
        raise ValueError(
            "the config's network renders no depth: it needs model.rendering and a fusion with "
            "fields, such as RenderFusion"
        )
    assert batch.images is not None, "read with images"
    assert batch.pixel_from_lidar is not None, "read with projections"
    height, width = batch.images.shape[-2:]
    frames, cameras = batch.images.shape[:2]
    density = field.density.float()
    pixels = pixel_centers(height, width, stride=options.stride, device=density.device)
    projections = batch.pixel_from_lidar.flatten(0, 1)
    flat = pixel_rays(projections, pixels.expand(len(projections), -1, -1))
    rays = Rays(*(part.reshape(frames, -1, 3) for part in flat))
    edges_m = uniform_depths(
        options.near_m, options.far_m, options.num_segments, device=density.device
    )
    depth_m = render_volume(density, None, network.feature_grid, rays, edges_m).depth_m
    return depth_m.view(frames, cameras, height // options.stride, width // options.stride)


def camera_depth(network: UnsOcc, batch: Batch, source: str) -> Float[Tensor, "B N H W"]:
    """Predict the depth of every image pixel, interpolated from the coarser prediction [m].

    Args:
        network: A network with a camera.
        batch: A batch on the device of the network.
        source: One of ``SOURCES``.

    Raises:
        ValueError: If the source is unknown, or the network has no such depth.
    """
    if source not in SOURCES:
        raise ValueError(f"source of depth must be one of {sorted(SOURCES)}, got '{source}'")
    if network.sensors == "lidar":
        raise ValueError(
            "a network that predicts from sensors 'lidar' has no camera depth to score: leave out "
            "sensors=lidar, or pass the weights of a network with a camera"
        )
    outputs = network.infer(batch, with_fields=source == "rendered")
    assert outputs.camera is not None, "has a camera"
    assert batch.images is not None, "read with images"
    if source == "lift":
        depth_m = expected_depth(outputs.camera.depth_logits, network.lift.bins)
    else:
        depth_m = rendered_depth(network, outputs, batch)
    size = tuple(batch.images.shape[-2:])
    return interpolate(depth_m, size=size, mode="bilinear", align_corners=False)


def read_frames(cfg: Config, split: str) -> FrameDataset:
    """Build the data set of a split, with the network's inputs and depth labels."""
    return build_dataset(cfg, split, fields=(*input_fields(sensors_of(cfg)), "depth_m"))


@torch.no_grad()
def score_depth(
    network: UnsOcc,
    frames: FrameDataset,
    meter: DepthMeter,
    source: str,
    process: Process,
    *,
    num_workers: int = 0,
) -> None:
    """Predict this process's share of the frames, and add the errors of all to a meter.

    Args:
        network: The network on its device; set to evaluation mode.
        frames: The frames, with depth labels.
        meter: Receives the errors of each image, of all processes.
        source: One of ``SOURCES``.
        process: This process.
        num_workers: Data loader processes; 0 loads in this process.

    Raises:
        ValueError: If the network has no such depth.
    """
    network.eval()
    device = next(network.parameters()).device
    mine = share_of(frames.stems, process)
    loader = FrameLoader(frames, batch_size=None, sampler=mine, num_workers=num_workers)
    samples = with_progress(
        loader, "score", len(mine), facts=attrgetter("stem"), shown=process.rank == 0
    )
    losses = LossWatch()
    for sample in samples:
        losses.see(sample.stem, sample.lost)
        batch = collate([sample]).to(device)
        depth_m = camera_depth(network, batch, source)[0]
        for number, (predicted, labels) in enumerate(zip(depth_m, sample.depth_m, strict=True)):
            meter.update(f"{sample.stem} {number}", predicted, labels, camera=str(number))
    losses.close_all()
    meter.all_reduce()
