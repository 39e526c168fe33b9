"""Fusion of the camera's and the LiDAR's feature volumes."""

from jaxtyping import Float
from torch import Tensor, cat, nn

from utils.registry import MODELS


@MODELS.register_module()
class ConcatFusion(nn.Module):
    """Concatenation and a convolution: the plain fusion, which sees no geometry.

    Args:
        camera_channels: Channels of the camera volume; 0 without a camera.
        lidar_channels: Channels of the LiDAR volume; 0 without a LiDAR.
        channels: Channels of the fused volume.

    Raises:
        ValueError: If there is neither volume.
    """

    def __init__(self, camera_channels: int, lidar_channels: int, channels: int) -> None:
        super().__init__()
        if camera_channels + lidar_channels < 1:
            raise ValueError("fusion needs the channels of at least one volume, got 0 and 0")
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
    ) -> Float[Tensor, "B C X Y Z"]:
        """Fuse the volumes; either may be None where the network was built without it.

        Raises:
            ValueError: If a volume is absent, or has other channels than it was built for.
        """
        present = [volume for volume in (camera, lidar) if volume is not None]
        got = tuple(0 if volume is None else volume.shape[1] for volume in (camera, lidar))
        if got != self.in_channels:
            raise ValueError(
                f"fusion was built for {self.in_channels} channels of camera and LiDAR, got {got}"
            )
        return self.mix(cat(present, dim=1))
