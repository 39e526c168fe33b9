"""Novel-view depth: compare the volume predicted at one frame with depth measured at others.

Poses and projections of the two Samples give the transform of a point:

    camera of the other frame ← LiDAR of the other frame ← world ← LiDAR of the predicted frame

Other frames belong to the same scene and split.
"""

import logging
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import Dataset

from dataset.lost_sensors import LossWatch
from dataset.options import spread
from dataset.sample import Sample, collate
from engine.build.build import build_dataset, input_fields, sensors_of, share_of
from engine.build.dataset_class import dataset_class
from engine.build.loader import FrameLoader
from engine.metrics.depth import DepthMeter
from model.novel_view import ViewOptions, labeled_centers, render_depth, sample_depth
from model.unsocc import UnsOcc
from utils.distributed import Process
from utils.geometry import project_points
from utils.progress import with_progress

logger = logging.getLogger(__name__)


class Measured(NamedTuple):
    """Measured depth in an image.

    Attributes:
        pixels: Positions (u, v) of points or of the centers of labeled pixels.
        depth_m: Camera depth there [m].
    """

    pixels: Float[Tensor, "P 2"]
    depth_m: Float[Tensor, "P"]


@dataclass
class NovelView:
    """Another frame whose depth a prediction is compared with.

    Attributes:
        stem: Stem of the other frame.
        distance_m: Distance between the LiDAR positions of the two frames.
        pixel_from_lidar: From the predicted frame's LiDAR frame to the other frame's images.
        measured: Measured depth of each of its cameras.
    """

    stem: str
    distance_m: float
    pixel_from_lidar: Float[Tensor, "N 4 4"]
    measured: list[Measured]


class NovelViews(Dataset[tuple[Sample, list[NovelView]]]):
    """Frames to predict, each with the other frames that its volume is rendered at.

    Args:
        cfg: The config.
        split: "train", "val" or "test".
        frames: Maximum number of other frames per frame: the nearest in time of its scene.
        max_distance_m: Other frames farther away than this are skipped.
        limit: Maximum number of frames to predict, evenly spaced over the split; 0 for all.

    Attributes:
        stems: Stem of each frame to predict.
        cameras: Name of each camera.
        image_size: Height and width of the images.

    Raises:
        ValueError: If an option is out of range, no scene has a second frame, or the data set has
            no measured depth.
        FileNotFoundError: If the data is missing.
    """

    def __init__(
        self, cfg: Config, split: str, *, frames: int, max_distance_m: float, limit: int = 0
    ) -> None:
        if limit < 0 or max_distance_m <= 0:
            raise ValueError(
                "novel views need a limit >= 0 (0: all frames) and a positive distance, got "
                f"{limit} and {max_distance_m:g}"
            )
        data = dataset_class(cfg)
        if data.measured_depth is None:
            raise ValueError(f"{data.__name__} has no depth to score novel views against")
        self._max_distance_m = max_distance_m
        self._measure = data.measured_depth
        inputs = (*input_fields(sensors_of(cfg)), "world_from_lidar")
        self._inputs = build_dataset(cfg, split, fields=inputs)
        views = (self._measure, "pixel_from_lidar", "world_from_lidar")
        self._others = build_dataset(_one_sweep(cfg), split, fields=views, stems=self._inputs.stems)
        self.cameras = self._others.camera_names
        self.image_size = self._others.image_size
        self._neighbors = self._others.neighbors(frames)
        with_views = [frame for frame, others in enumerate(self._neighbors) if others]
        if len(with_views) < len(self._neighbors):
            logger.warning(
                "%d of %d frames are the only ones of their scenes and have no novel views",
                len(self._neighbors) - len(with_views),
                len(self._neighbors),
            )
        self._indices = spread(with_views, limit)
        self.stems = [self._inputs.stems[index] for index in self._indices]

    def __len__(self) -> int:
        """Number of frames to predict."""
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Sample, list[NovelView]]:
        """Read a frame and its novel views."""
        index = self._indices[index]
        sample = self._inputs[index]
        views = [self._view(sample, self._others[other]) for other in self._neighbors[index]]
        return sample, [view for view in views if view.distance_m <= self._max_distance_m]

    def _view(self, sample: Sample, other: Sample) -> NovelView:
        """Build the view of another frame; poses are chained in double precision."""
        assert sample.world_from_lidar is not None, "a requested field"
        assert other.world_from_lidar is not None, "a requested field"
        assert other.pixel_from_lidar is not None, "a requested field"
        other_from_sample = torch.linalg.inv(other.world_from_lidar) @ sample.world_from_lidar
        if self._measure == "points":
            measured = measured_by_points(other, self.image_size)
        else:
            measured = measured_by_pixels(other)
        return NovelView(
            stem=other.stem,
            distance_m=float(other_from_sample[:3, 3].norm()),
            pixel_from_lidar=(other.pixel_from_lidar.double() @ other_from_sample).float(),
            measured=measured,
        )


def measured_by_points(frame: Sample, image_size: tuple[int, int]) -> list[Measured]:
    """Return the LiDAR points in each image of a frame.

    Args:
        frame: A frame with points and projections.
        image_size: Height and width of the images [px].
    """
    assert frame.points is not None, "a requested field"
    assert frame.pixel_from_lidar is not None, "a requested field"
    points = frame.points[:, :3].expand(len(frame.pixel_from_lidar), -1, -1)
    height, width = image_size
    found = []
    for pixels, depth_m in zip(*project_points(frame.pixel_from_lidar, points), strict=True):
        is_inside = ((pixels >= 0) & (pixels < pixels.new_tensor([width, height]))).all(-1)
        is_inside &= depth_m > 0
        found.append(Measured(pixels[is_inside], depth_m[is_inside]))
    return found


def measured_by_pixels(frame: Sample) -> list[Measured]:
    """Return the labeled pixels in each depth map of a frame."""
    assert frame.depth_m is not None, "a requested field"
    return [Measured(*labeled_centers(depth_m)) for depth_m in frame.depth_m]


@torch.no_grad()
def score_novel_depth(
    network: UnsOcc,
    views: NovelViews,
    meter: DepthMeter,
    options: ViewOptions,
    process: Process,
    *,
    num_workers: int = 0,
) -> None:
    """Predict this process's share of the frames, and score depth rendered at other frames.

    Args:
        network: The network on the process's device; set to evaluation mode.
        views: The frames.
        meter: Receives the errors of all processes.
        options: How depth is rendered.
        process: This process.
        num_workers: Data loader processes; 0 loads in this process.

    Raises:
        ValueError: If no frame has a novel view.
    """
    network.eval()
    mine = share_of(views.stems, process)
    loader = FrameLoader(views, batch_size=None, sampler=mine, num_workers=num_workers)
    is_first = process.rank == 0
    frames = with_progress(
        loader, "score", len(mine), facts=lambda item: item[0].stem, shown=is_first
    )
    losses = LossWatch()
    for sample, others in frames:
        losses.see(sample.stem, sample.lost)
        outputs = network.infer(collate([sample]).to(process.device))
        for view in others:
            projections = view.pixel_from_lidar[None].to(process.device)
            depth_m = render_depth(network, outputs, projections, views.image_size, options)[0]
            for camera, rendered, measured in zip(
                views.cameras, depth_m, view.measured, strict=True
            ):
                pixels = measured.pixels.to(process.device)
                meter.update(
                    f"{sample.stem} from {view.stem} {camera}",
                    sample_depth(rendered, pixels, views.image_size),
                    measured.depth_m,
                    camera=camera,
                    distance_m=view.distance_m,
                )
    losses.close_all()
    meter.all_reduce()
    if not meter.images:
        raise ValueError(
            "no frame has another frame of its scene within the distance limit; raise it"
        )


def _one_sweep(cfg: Config) -> Config:
    """Return the config with a single sweep: the points measured at the frame itself."""
    cfg = deepcopy(cfg)
    if "num_sweeps" in cfg.dataset:
        cfg.dataset["num_sweeps"] = 1
    return cfg
