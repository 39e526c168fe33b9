"""Score and draw the elevation maps of a network or a baseline on all frames of a split."""

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import torch
from jaxtyping import Float
from mmengine.config import Config
from torch import Tensor

from dataset import layout
from dataset.elevation import ElevationGrid, resample_map
from dataset.frame_dataset import FrameDataset
from dataset.lost_sensors import LossWatch
from dataset.options import spread
from dataset.sample import Sample, collate
from engine.build.build import build_dataset, input_fields, sensors_of, share_of
from engine.build.loader import FrameLoader
from engine.evaluation.elevation_baselines import interpolate_points, mean_map
from engine.metrics.elevation import ElevationMeter
from engine.pictures.elevation_figure import elevation_figure
from engine.pictures.plots import write_figure
from model.unsocc import UnsOcc
from utils.distributed import Process
from utils.progress import with_progress

Mapper = Callable[[Sample], Float[Tensor, "rows cols"]]
"""Maps a frame to the heights of its label's cells [m]."""

NO_HEAD = (
    "the config's network has no elevation head: use a config with model.parts.elevation, such "
    "as config/unscenes3d/unscenes3d_elevation.py"
)
BASELINES = {"mean": "mean map of the training set", "lidar": "interpolated LiDAR points"}


def label_grid(sample: Sample) -> ElevationGrid:
    """Return the grid of a frame's elevation label.

    Raises:
        ValueError: If the frame was read without its label, or the shape of the label is invalid.
    """
    if sample.elevation_m is None:
        raise ValueError(f"frame {sample.stem} was read without its elevation label")
    return layout.elevation_grid((sample.elevation_m.shape[0], sample.elevation_m.shape[1]))


def network_mapper(network: UnsOcc) -> Mapper:
    """Return a mapper that predicts with a network, set to evaluation mode.

    Raises:
        ValueError: If the network has no elevation head.
    """
    if network.elevation is None:
        raise ValueError(NO_HEAD)
    cells: ElevationGrid = network.elevation.cells
    network.eval()

    def predict(sample: Sample) -> Float[Tensor, "rows cols"]:
        (prediction,) = network.test_step(collate([sample]))
        return resample_map(prediction.elevation_m[None].cpu(), cells, label_grid(sample))[0]

    return predict


def baseline_mapper(cfg: Config, name: str) -> Mapper:
    """Return the mapper of one of ``BASELINES``; "mean" reads the config's training set.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the name is unknown, or the training set has no labels.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline must be one of {sorted(BASELINES)}, got '{name}'")
    if name == "mean":
        labels = build_dataset(cfg, "train", fields=("elevation_m",))
        mean = mean_map(labels[index] for index in range(len(labels)))
        cells = layout.elevation_grid((mean.shape[0], mean.shape[1]))
        return lambda sample: resample_map(mean[None], cells, label_grid(sample))[0]

    def interpolate(sample: Sample) -> Float[Tensor, "rows cols"]:
        assert sample.points is not None, "read with points"
        try:
            return interpolate_points(sample.points, label_grid(sample))
        except ValueError as error:
            raise ValueError(f"frame {sample.stem}: {error}") from error

    return interpolate


def read_frames(cfg: Config, split: str, baseline: str | None) -> FrameDataset:
    """Build the data set of a split, with labels and the inputs of the network or baseline."""
    if baseline is None:
        fields = input_fields(sensors_of(cfg))
    else:
        fields = ("points",) if baseline == "lidar" else ()
    return build_dataset(cfg, split, fields=(*fields, "elevation_m"))


@torch.no_grad()
def score_maps(
    frames: FrameDataset,
    mapper: Mapper,
    method: str,
    process: Process,
    *,
    figures: Path | None = None,
    limit: int = 0,
    num_workers: int = 0,
) -> ElevationMeter:
    """Score this process's share of the frames, and draw some.

    Args:
        frames: The frames, with labels.
        mapper: Predicts their maps.
        method: Its name in the figures.
        process: This process.
        figures: Output folder for ``STEM.png``; None draws nothing.
        limit: Maximum number of figures, of evenly spaced frames; 0 for all.
        num_workers: Data loader processes; 0 loads in this process.

    Returns:
        The errors of all processes.
    """
    drawn = set(spread(range(len(frames)), limit))
    meter = ElevationMeter()
    mine = share_of(frames.stems, process)
    loader = FrameLoader(frames, batch_size=None, sampler=mine, num_workers=num_workers)
    samples = with_progress(
        loader, "score", len(mine), facts=attrgetter("stem"), shown=process.rank == 0
    )
    losses = LossWatch()
    for index, sample in zip(mine, samples, strict=True):
        losses.see(sample.stem, sample.lost)
        predicted = mapper(sample)
        errors = meter.update(sample.stem, predicted, sample.elevation_m)
        if figures is not None and index in drawn:
            cells = label_grid(sample)
            figure = elevation_figure(sample, predicted.numpy(), cells, errors, method=method)
            write_figure(figures / f"{sample.stem}.png", figure)
    losses.close_all()
    meter.all_reduce()
    return meter
