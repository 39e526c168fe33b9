"""Fusion of the camera and LiDAR volumes: what every fusion returns, and the plain fusion.

A fusion is called with the two volumes. One of them is None if the network was built without that
sensor, or if a frame lacks it. With ``with_fields``, which only training asks for, it also returns
the volumes as a renderer sees them. Its attribute ``fields`` names the fields of ``Fused`` that it
then fills.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, cat, nn

from utils.registry import MODELS


class Field(NamedTuple):
    """A volume as a renderer sees it.

    Attributes:
        density: Absorption [1/m], >= 0.
        features: What is rendered besides depth, if anything: probabilities, colors.
    """

    density: Float[Tensor, "B 1 X Y Z"]
    features: Float[Tensor, "B C X Y Z"] | None


class Fused(NamedTuple):
    """Output of a fusion. Fields are None at inference, and those that a fusion does not have.

    Attributes:
        volume: The fused features.
        camera: The camera volume, for depth.
        lidar: The LiDAR volume with the probability of each class but free, for semantics.
        fused: The fused volume with colors (RGB, 0–1), for depth and color.
    """

    volume: Float[Tensor, "B C X Y Z"]
    camera: Field | None = None
    lidar: Field | None = None
    fused: Field | None = None


@MODELS.register_module()
class ConcatFusion(nn.Module):
    """Concatenation and a convolution: the plain fusion, without geometry or rendering.

    Args:
        camera_channels: Channels of the camera volume; 0 without a camera.
        lidar_channels: Channels of the LiDAR volume; 0 without a LiDAR.
        channels: Channels of the fused volume.

    Raises:
        ValueError: If there is neither volume.
    """

    fields: tuple[str, ...] = ()

    def __init__(
        self,
        camera_channels: int,
        lidar_channels: int,
        channels: int,
    ) -> None:
        super().__init__()
        check_any_channels(camera_channels, lidar_channels)
        self.in_channels = (camera_channels, lidar_channels)
        self.channels = channels
        self.mix = nn.Sequential(
            nn.Conv3d(sum(self.in_channels), channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self,
        camera: Float[Tensor, "B camera X Y Z"] | None,
        lidar: Float[Tensor, "B lidar X Y Z"] | None,
        *,
        with_fields: bool = False,
    ) -> Fused:
        """Fuse the volumes.

        Raises:
            ValueError: If a volume is missing, or its channels are not those of the constructor.
        """
        del with_fields
        check_channels(self.in_channels, camera, lidar)
        return Fused(self.mix(concatenate(self.in_channels, camera, lidar)))


def concatenate(
    channels: tuple[int, int],
    camera: Float[Tensor, "B camera X Y Z"] | None,
    lidar: Float[Tensor, "B lidar X Y Z"] | None,
) -> Float[Tensor, "B _ X Y Z"]:
    """The two volumes side by side, with zeros for one that a frame lacks.

    Args:
        channels: Channels of camera and LiDAR that the fusion was built for.
        camera: The camera volume.
        lidar: The LiDAR volume.
    """
    there = camera if camera is not None else lidar
    assert there is not None, "check_channels comes first"
    volumes = (
        there.new_zeros(len(there), number, *there.shape[2:]) if volume is None else volume
        for number, volume in zip(channels, (camera, lidar), strict=True)
    )
    return cat([volume for volume in volumes if volume.shape[1]], dim=1)


def check_channels(expected: tuple[int, int], camera: Tensor | None, lidar: Tensor | None) -> None:
    """Reject volumes that a fusion was not built for; a fusion of both takes one alone.

    Args:
        expected: Channels of camera and LiDAR; 0 for a sensor that it was built without.
        camera: The camera volume.
        lidar: The LiDAR volume.

    Raises:
        ValueError: If both volumes are missing, or one is unexpected or has other channels.
    """
    got = tuple(0 if volume is None else volume.shape[1] for volume in (camera, lidar))
    fits = all(number in (0, own) for number, own in zip(got, expected, strict=True))
    if not fits or not any(got):
        raise ValueError(f"fusion was built for {expected} channels of camera and LiDAR, got {got}")


def check_any_channels(camera_channels: int, lidar_channels: int) -> None:
    """Reject a fusion of nothing.

    Raises:
        ValueError: If neither volume has channels.
    """
    if camera_channels + lidar_channels < 1:
        raise ValueError("fusion needs the channels of at least one volume, got 0 and 0")
