"""Training for the loss of a sensor: which frames lack one, and what each sensor learns alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from model.lidar_encoder import LidarFeatures
from model.lift import Lifted
from utils.labels import FREE, IGNORE

Score = Callable[[Tensor, Tensor], Float[Tensor, ""]]
"""Logits and labels to a loss."""
Parts = Sequence[Tensor | None]
"""What camera and LiDAR give; None for a sensor that is not in use."""


@dataclass(frozen=True)
class SensorDropout:
    """Shares of the frames that training predicts again, from one sensor.

    Both shares are drawn independently: with 1 and 1, each frame is predicted three times.

    Attributes:
        camera: Share that is also predicted without the camera.
        lidar: Share that is also predicted without the LiDAR.

    Raises:
        ValueError: If one is outside of [0, 1].
    """

    camera: float
    lidar: float

    def __post_init__(self) -> None:
        """Check the fields."""
        if not (0 <= self.camera <= 1 and 0 <= self.lidar <= 1):
            raise ValueError(f"sensor_dropout needs shares in [0, 1], got {self}")

    def draw(self, number: int, device: torch.device) -> dict[str, Int64[Tensor, "_"]]:
        """Draw the frames of a batch to predict from one sensor, by that sensor.

        Args:
            number: Frames of the batch.
            device: Device of the indices. The numbers are drawn on the CPU, so that no step waits.
        """
        drawn = torch.rand(2, number)
        chosen = {"lidar": drawn[0] < self.camera, "camera": drawn[1] < self.lidar}
        frames = {name: torch.nonzero(is_chosen).flatten() for name, is_chosen in chosen.items()}
        return {
            name: index.to(device, non_blocking=True)
            for name, index in frames.items()
            if len(index)
        }


def branch_terms(
    branches: Mapping[str, nn.Module] | nn.ModuleDict,
    volumes: Mapping[str, Float[Tensor, "B C x y z"]],
    labels: UInt8[Tensor, "B X Y Z"],
    score: Score,
) -> dict[str, Float[Tensor, ""]]:
    """Score what each sensor's own volume says about the labels.

    Args:
        branches: Head of each sensor.
        volumes: Volume of each sensor.
        labels: Labels, which are coarsened to the voxels of the volumes.
        score: The loss.

    Returns:
        A term for each sensor, such as "camera_branch".
    """
    logits = {sensor: branches[sensor](volume) for sensor, volume in volumes.items()}
    _, num_classes, coarse_x, _, _ = next(iter(logits.values())).shape
    coarse = coarse_labels(labels, labels.shape[1] // coarse_x, num_classes)
    return {f"{sensor}_branch": score(logits[sensor], coarse) for sensor in logits}


def lost_sensor_term(
    camera: Lifted,
    lidar: LidarFeatures,
    labels: UInt8[Tensor, "B X Y Z"],
    chosen: Mapping[str, Int64[Tensor, "_"]],
    *,
    fuse: Callable[[str, Parts, Parts], Tensor],
    score: Score,
) -> Float[Tensor, ""]:
    """Score frames that are predicted again, from one sensor.

    Args:
        camera: The lift's output for the batch.
        lidar: The LiDAR encoder's.
        labels: Labels of the batch.
        chosen: Indices of the frames by the sensor that is left.
        fuse: Predicts logits from sensors: their name, and the volumes and evidence of camera and
            LiDAR.
        score: The loss.

    Returns:
        The occupancy terms, each frame's share of the batch.
    """
    seen = {
        "camera": ((camera.volume, None), (camera.evidence, None)),
        "lidar": ((None, lidar.volume), (None, lidar.evidence)),
    }
    term = torch.zeros((), device=labels.device)
    for sensors, frames in chosen.items():
        volumes, evidence = ([frames_of(part, frames) for part in pair] for pair in seen[sensors])
        logits = fuse(sensors, volumes, evidence)
        term = term + score(logits, labels[frames]) * (len(frames) / len(labels))
    return term


def frames_of(tensor: Tensor | None, frames: Int64[Tensor, "F"]) -> Tensor | None:
    """Select frames of a batch; the tensor itself if they are all of them."""
    return tensor if tensor is None or len(frames) == len(tensor) else tensor[frames]


def coarse_labels(
    labels: UInt8[Tensor, "B X Y Z"], factor: int, num_classes: int
) -> UInt8[Tensor, "B x y z"]:
    """Coarsen labels to voxels ``factor`` times as wide, by the rule of ``coarsen_occupancy``.

    Args:
        labels: Labels.
        factor: Voxels along each edge of a coarse one.
        num_classes: Classes, free included.
    """
    x, y, z = (n // factor for n in labels.shape[1:])
    blocks = labels.view(len(labels), x, factor, y, factor, z, factor)
    blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
    counts = torch.stack([(blocks == k).sum(-1) for k in range(FREE + 1, num_classes)], dim=-1)
    most, label = counts.max(dim=-1)
    is_ignored = 2 * (blocks == IGNORE).sum(-1) > factor**3
    empty = torch.where(is_ignored, IGNORE, FREE)
    return torch.where(most > 0, label + FREE + 1, empty).to(labels.dtype)
