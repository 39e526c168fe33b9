"""Training for the loss of a sensor: which frames, and the labels of a sensor's own volume."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from utils.labels import FREE, IGNORE


@dataclass(frozen=True)
class SensorDropout:
    """Shares of the frames that training also predicts without a sensor.

    Attributes:
        camera: Share without the camera.
        lidar: Share without the LiDAR.

    Raises:
        ValueError: If they are negative, or add up to more than 1.
    """

    camera: float
    lidar: float

    def __post_init__(self) -> None:
        """Check the fields."""
        if min(self.camera, self.lidar) < 0 or self.camera + self.lidar > 1:
            raise ValueError(
                f"sensor_dropout needs shares of at least 0 that add up to 1 at most, got {self}"
            )

    def draw(self, number: int, device: torch.device) -> dict[str, Int64[Tensor, "_"]]:
        """The frames of a batch that are predicted from one sensor, by that sensor.

        Args:
            number: Frames of the batch.
            device: Device of the indices. The numbers are drawn on the CPU, so that no step waits.
        """
        drawn = torch.rand(number)
        chosen = {"lidar": drawn < self.camera, "camera": drawn >= 1 - self.lidar}
        frames = {name: torch.nonzero(is_chosen).flatten() for name, is_chosen in chosen.items()}
        return {name: index.to(device) for name, index in frames.items() if len(index)}


def frames_of(tensor: Tensor | None, frames: Int64[Tensor, "F"]) -> Tensor | None:
    """Some frames of a batch; the tensor itself if they are all of them."""
    return tensor if tensor is None or len(frames) == len(tensor) else tensor[frames]


def coarse_labels(
    labels: UInt8[Tensor, "B X Y Z"], factor: int, num_classes: int
) -> UInt8[Tensor, "B x y z"]:
    """Labels in voxels ``factor`` times as wide, by the rule of ``coarsen_occupancy``.

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
    empty = torch.where((blocks == IGNORE).any(-1), IGNORE, FREE)
    return torch.where(most > 0, label + FREE + 1, empty).to(labels.dtype)
