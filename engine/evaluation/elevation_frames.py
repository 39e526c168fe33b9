"""Elevation maps of all frames of a split, scored and drawn: by a network, or by a baseline."""

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import torch
from jaxtyping import Float
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import DataLoader

from dataset import layout
from dataset.frame_dataset import FrameDataset
from dataset.options import spread
from dataset.sample import Sample, collate
from engine.build.build import build_dataset, input_fields, sensors_of
from engine.evaluation.elevation_baselines import interpolated_returns, mean_map
from engine.metrics.elevation import ElevationMeter
from engine.pictures.elevation_figure import elevation_figure
from engine.pictures.plots import write_figure
from model.unsocc import UnsOcc
from utils.elevation import ElevationGrid, resample_map
from utils.progress import with_progress

Mapper = Callable[[Sample], Float[Tensor, "rows cols"]]
"""From a frame to the heights of its label's cells [m]."""

NO_HEAD = (
    "the config's network has no elevation head: take a config with model.parts.elevation, such "
    "as config/unscenes3d/unscenes3d_elevation.py"
)
BASELINES = {"mean": "mean map of the training set", "lidar": "interpolated LiDAR returns"}


def label_grid(sample: Sample) -> ElevationGrid:
    """Where the cells of a frame's label lie.

    Raises:
        ValueError: If it was read without, or no label can have its shape.
    """
    if sample.elevation_m is None:
        raise ValueError(f"frame {sample.stem} was read without its elevation label")
    return layout.elevation_grid((sample.elevation_m.shape[0], sample.elevation_m.shape[1]))


def network_mapper(network: UnsOcc) -> Mapper:
    """What a network on its device predicts; it is put into evaluation mode.

    Raises:
        ValueError: If it has no elevation head.
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
    """One of ``BASELINES``; the mean map is taken of the config's training set here.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If the name is unknown, or the training set has no labels.
    """
    if name not in BASELINES:
        raise ValueError(f"baselines are {sorted(BASELINES)}, got '{name}'")
    if name == "mean":
        labels = build_dataset(cfg, "train", fields=("elevation_m",))
        mean = mean_map(labels[index] for index in range(len(labels)))
        cells = layout.elevation_grid((mean.shape[0], mean.shape[1]))
        return lambda sample: resample_map(mean[None], cells, label_grid(sample))[0]

    def interpolate(sample: Sample) -> Float[Tensor, "rows cols"]:
        assert sample.points is not None, "read with points"
        try:
            return interpolated_returns(sample.points, label_grid(sample))
        except ValueError as error:
            raise ValueError(f"frame {sample.stem}: {error}") from error

    return interpolate


def read_frames(cfg: Config, split: str, baseline: str | None) -> FrameDataset:
    """The data set of a split with the labels, and what the network or the baseline reads."""
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
    *,
    pictures: Path | None = None,
    limit: int = 0,
    num_workers: int = 0,
) -> ElevationMeter:
    """Score all frames of a data set, and draw some.

    Args:
        frames: The frames, with labels.
        mapper: What predicts them.
        method: Its name, for the pictures.
        pictures: Folder that gets ``STEM.png``; None draws nothing.
        limit: At most so many pictures, of frames spread evenly over all; 0 for all.
        num_workers: Processes that read ahead; 0 reads in this one.
    """
    drawn = set(spread(range(len(frames)), limit))
    meter = ElevationMeter()
    loader = DataLoader(frames, batch_size=None, num_workers=num_workers)
    samples = with_progress(loader, "score", len(frames), facts=attrgetter("stem"))
    for index, sample in enumerate(samples):
        predicted = mapper(sample)
        errors = meter.update(sample.stem, predicted, sample.elevation_m)
        if pictures is not None and index in drawn:
            cells = label_grid(sample)
            figure = elevation_figure(sample, predicted.numpy(), cells, errors, method=method)
            write_figure(pictures / f"{sample.stem}.png", figure)
    return meter
