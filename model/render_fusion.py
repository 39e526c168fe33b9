"""RenderFusion: two volumes that supervise each other by rendering, and gates that fuse them.

A small convolution turns each volume into a density and hidden features. In training the densities
are rendered: the camera's for depth, the LiDAR's for semantics, and an alignment loss pulls them
together along every ray. At inference they only feed the gates.

The two supervisions follow the paper; the form of the gates is ours.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import max_pool3d, softplus

from model.convolutions import PaddedConv3d
from model.fusion import Field, Fused, check_any_channels, check_channels
from utils.registry import MODELS

INITIAL_DENSITY = -4.0
"""Before softplus: 0.018 / m. A ray through 77 m of an untrained volume ends in it with probability
0.75, so every voxel along it gets a gradient."""


@MODELS.register_module()
class RenderFusion(nn.Module):
    """Gated fusion of volumes that are aligned by rendering.

    A sensor's weight is 1 wherever the other one sees nothing. Where both see something, each
    channel has a gate, computed from the features and densities of both in the 3×3×3 neighborhood.

    Args:
        camera_channels: Channels of the camera volume; 0 without a camera.
        lidar_channels: Channels of the LiDAR volume; 0 without a LiDAR.
        num_classes: Classes, free included.
        channels: Channels of the fused volume.
        hidden_channels: Hidden channels of each volume's density and of the gates.

    Attributes:
        fields: Those of the sensors' volumes. The LiDAR alone has none: without a camera there is
            no image plane to render to.

    Raises:
        ValueError: If there is neither volume.
    """

    def __init__(
        self,
        camera_channels: int,
        lidar_channels: int,
        num_classes: int,
        channels: int,
        hidden_channels: int = 32,
    ) -> None:
        super().__init__()
        check_any_channels(camera_channels, lidar_channels)
        self.in_channels, self.channels = (camera_channels, lidar_channels), channels
        self.fields: tuple[str, ...] = ()
        if camera_channels:
            self.camera_aspect = Aspect(camera_channels, hidden_channels)
            self.project_camera = nn.Conv3d(camera_channels, channels, 1, bias=False)
            self.fields = ("camera", "lidar") if lidar_channels else ("camera",)
        if lidar_channels:
            self.project_lidar = nn.Conv3d(lidar_channels, channels, 1, bias=False)
        if camera_channels and lidar_channels:
            self.lidar_aspect = Aspect(lidar_channels, hidden_channels)
            self.classify = nn.Conv3d(hidden_channels, num_classes - 1, 1)
            self.gates = nn.Sequential(
                PaddedConv3d(
                    2 * hidden_channels + 4,
                    hidden_channels,
                    3,
                    padded=(3 * hidden_channels, 0),
                    padding=1,
                ),
                nn.ReLU(inplace=True),
                nn.Conv3d(hidden_channels, 2 * channels, 1),
            )
        self.mix = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
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
        check_channels(self.in_channels, camera, lidar)
        if camera is None:
            return Fused(self.mix(self.project_lidar(lidar)))
        if lidar is None:
            volume = self.mix(self.project_camera(camera))
            return Fused(volume, camera=self._camera_field(camera) if with_fields else None)
        seen_camera, seen_lidar = is_seen(camera), is_near_seen(lidar)
        camera_hidden, camera_density = self.camera_aspect(camera)
        lidar_hidden, lidar_density = self.lidar_aspect(lidar)
        stops = [-torch.expm1(-density) for density in (camera_density, lidar_density)]
        evidence = [camera_hidden, lidar_hidden, *stops, seen_camera, seen_lidar]
        gates = self.gates(torch.cat([part.to(camera_hidden.dtype) for part in evidence], dim=1))
        camera_gate, lidar_gate = gates.sigmoid().chunk(2, dim=1)
        from_camera = self.project_camera(camera) * camera_gate.where(seen_lidar, 1.0)
        from_lidar = self.project_lidar(lidar) * lidar_gate.where(seen_camera, 1.0)
        volume = self.mix(from_camera + from_lidar)
        if not with_fields:
            return Fused(volume)
        probabilities = self.classify(lidar_hidden).float().softmax(dim=1)
        return Fused(volume, Field(camera_density, None), Field(lidar_density, probabilities))

    def _camera_field(self, camera: Tensor) -> Field:
        return Field(self.camera_aspect(camera)[1], None)


class Aspect(nn.Module):
    """Hidden features and density of a volume."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            PaddedConv3d(in_channels, channels, 3, padded=(0, 2 * channels), padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        self.density = nn.Conv3d(channels, 1, 1)
        self.density.bias = nn.Parameter(torch.full((1,), INITIAL_DENSITY))

    def forward(
        self, volume: Float[Tensor, "B in_channels X Y Z"]
    ) -> tuple[Float[Tensor, "B C X Y Z"], Float[Tensor, "B 1 X Y Z"]]:
        """Hidden features, and density [1/m] in float32."""
        hidden = self.look(volume)
        return hidden, softplus(self.density(hidden).float())


def is_seen(volume: Float[Tensor, "B C X Y Z"]) -> Bool[Tensor, "B 1 X Y Z"]:
    """Voxels that a sensor sees: its volume is 0 everywhere else."""
    return (volume != 0).any(dim=1, keepdim=True)


def is_near_seen(volume: Float[Tensor, "B C X Y Z"]) -> Bool[Tensor, "B 1 X Y Z"]:
    """Voxels with a seen voxel in their 3×3×3 neighborhood."""
    return max_pool3d(is_seen(volume).to(volume.dtype), 3, stride=1, padding=1) > 0
