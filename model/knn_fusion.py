"""Fusion by nearest neighbours, as in Co-Occ: the direct baseline of RenderFusion.

Each voxel that a sensor sees something in is related to the nearest ones that the other sensor
sees something in, both ways. The neighbours are exact within a distance: the offsets of a ball of
voxels, nearest first, are looked up around every voxel, so that the cost is voxels × offsets and
not all pairs of voxels.

Source: Pan et al., "Co-Occ: Coupling Explicit Feature Fusion with Volume Rendering Regularization
for Multi-Modal 3D Semantic Occupancy Prediction", 2024 (GSFusion). There the neighbours are found
for a sample of the voxels, whose surroundings share them, and what was related lies beside both
volumes in the convolution; here it is added to the volume that it enhances.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pad

from model.fusion import Field, Fused, check_any_channels, check_channels
from model.render_fusion import Aspect
from utils.geometry import VoxelGrid
from utils.registry import MODELS

_QUERIES_AT_ONCE = 2**15
"""Bounds the memory of a search: at 257 offsets, 70 MB for the addresses."""


@MODELS.register_module()
class KnnFusion(nn.Module):
    """Each sensor's voxels, enhanced by the other sensor's nearest, and a convolution over both.

    With one sensor only the convolution is left.

    Args:
        camera_channels: Channels of the camera volume; 0 without a camera.
        lidar_channels: Channels of the LiDAR volume; 0 without a LiDAR.
        grid: The feature grid, where the volumes lie.
        num_classes: Classes, free included. This fusion knows of none; every fusion is told.
        channels: Channels of the fused volume.
        neighbors: Voxels of the other sensor that each voxel is related to.
        max_distance_m: How far these may lie, centre to centre [m].
        max_camera_voxels: The camera's voxels with the largest features, which are those near its
            most certain surfaces, that take part in each frame.

    Raises:
        ValueError: If there is neither volume, or no room for the neighbours in that distance.
    """

    offsets: Tensor

    def __init__(
        self,
        camera_channels: int,
        lidar_channels: int,
        grid: VoxelGrid,
        num_classes: int,
        channels: int,
        neighbors: int = 2,
        max_distance_m: float = 2.4,
        max_camera_voxels: int = 16384,
    ) -> None:
        super().__init__()
        del num_classes
        check_any_channels(camera_channels, lidar_channels)
        self.in_channels, self.channels = (camera_channels, lidar_channels), channels
        self.neighbors, self.max_camera_voxels = neighbors, max_camera_voxels
        offsets = ball_offsets(max_distance_m / grid.voxel_m)
        if not 1 <= neighbors <= len(offsets) or max_camera_voxels < 1:
            raise ValueError(
                f"nearest neighbours need 1 to {len(offsets)} neighbors, which is how many voxels "
                f"of {grid.voxel_m} m lie within max_distance_m = {max_distance_m}, and "
                f"max_camera_voxels of at least 1; got {neighbors} and {max_camera_voxels}"
            )
        self.register_buffer("offsets", offsets, persistent=False)
        if camera_channels and lidar_channels:
            self.relate_camera = Relate(camera_channels, lidar_channels, neighbors)
            self.relate_lidar = Relate(lidar_channels, camera_channels, neighbors)
        self.mix = nn.Sequential(
            nn.Conv3d(sum(self.in_channels), channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        if camera_channels:
            hidden_channels = max(1, channels // 4)
            self.aspect = Aspect(channels, hidden_channels)
            self.color = nn.Conv3d(hidden_channels, 3, 1)

    def forward(
        self,
        camera: Float[Tensor, "B camera X Y Z"] | None,
        lidar: Float[Tensor, "B lidar X Y Z"] | None,
        *,
        with_fields: bool = False,
    ) -> Fused:
        """Fuse the volumes.

        The field is that of the fused volume, with colours. Without a camera there is none, for
        there is no image plane to render to.

        Raises:
            ValueError: If a volume is absent, or has other channels than it was built for.
        """
        check_channels(self.in_channels, camera, lidar)
        if camera is not None and lidar is not None:
            camera, lidar = self._enhanced(camera, lidar)
        volume = self.mix(torch.cat([v for v in (camera, lidar) if v is not None], dim=1))
        if camera is None or not with_fields:
            return Fused(volume)
        hidden, density = self.aspect(volume)
        return Fused(volume, fused=Field(density, self.color(hidden).float().sigmoid()))

    def _enhanced(self, camera: Tensor, lidar: Tensor) -> tuple[Tensor, Tensor]:
        """Both volumes, each with what the other one's neighbours add to it."""
        in_camera = strongest(magnitude(camera), self.max_camera_voxels)
        in_lidar = magnitude(lidar) > 0
        of_camera = nearest(in_camera, in_lidar, self.offsets, self.neighbors)
        of_lidar = nearest(in_lidar, in_camera, self.offsets, self.neighbors)
        return (
            self.relate_camera(camera, lidar, of_camera),
            self.relate_lidar(lidar, camera, of_lidar),
        )


class VoxelNeighbors(NamedTuple):
    """The neighbours of Q voxels; all indices count the voxels of a batch: frames, x, y, z.

    Attributes:
        voxel: The voxels, in order.
        neighbor: Their neighbours, nearest first; where there is none, the voxel itself.
        is_found: Where there is one.
    """

    voxel: Int64[Tensor, "Q"]
    neighbor: Int64[Tensor, "Q k"]
    is_found: Bool[Tensor, "Q k"]


class Relate(nn.Module):
    """Adds to each voxel its own features, gated by those of its neighbours.

    There is no bias, so that a voxel without neighbours stays as it is.
    """

    def __init__(self, channels: int, other_channels: int, neighbors: int) -> None:
        super().__init__()
        self.gate = nn.Linear(neighbors * other_channels, channels, bias=False)

    def forward(
        self,
        volume: Float[Tensor, "B C X Y Z"],
        other: Float[Tensor, "B other X Y Z"],
        neighbors: VoxelNeighbors,
    ) -> Float[Tensor, "B C X Y Z"]:
        """The enhanced volume (channels_last_3d).

        Args:
            volume: What is enhanced.
            other: Where the neighbours' features come from.
            neighbors: Voxels of ``volume``, and their neighbours in ``other``.
        """
        features = volume.permute(0, 2, 3, 4, 1).flatten(0, 3)  # (B·X·Y·Z, C)
        around = other.permute(0, 2, 3, 4, 1).flatten(0, 3)[neighbors.neighbor]  # (Q, k, other)
        around = around * neighbors.is_found[..., None]
        gate = torch.relu(self.gate(around.flatten(1)))
        related = features[neighbors.voxel] * gate
        enhanced = features.index_add(0, neighbors.voxel, related.to(features.dtype))
        return enhanced.unflatten(0, (len(volume), *volume.shape[2:])).permute(0, 4, 1, 2, 3)


def magnitude(volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B X Y Z"]:
    """Length of the features, without a gradient; 0 where a sensor sees nothing."""
    return torch.linalg.vector_norm(volume.detach(), dim=1)


def strongest(strength: Float[Tensor, "B X Y Z"], limit: int) -> Bool[Tensor, "B X Y Z"]:
    """The voxels of largest strength > 0 of each frame, ``limit`` of them at most."""
    flat = strength.flatten(1)
    top, voxel = flat.topk(min(limit, flat.shape[1]), dim=1, sorted=False)
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter(1, voxel, top > 0)
    return kept.view_as(strength)


def ball_offsets(radius: float) -> Int64[Tensor, "offsets 3"]:
    """The voxels whose centres lie within ``radius`` voxels of one's own, nearest first.

    Those equally far are in the order of x, y, z.

    Raises:
        ValueError: If the radius is negative.
    """
    if radius < 0:
        raise ValueError(f"the distance of neighbours must be at least 0, got {radius} voxels")
    radius += 1e-6  # 0.6 / 0.2 is a little less than 3
    reach = math.floor(radius)
    axis = torch.arange(-reach, reach + 1)
    offsets = torch.cartesian_prod(axis, axis, axis)
    squared = offsets.square().sum(dim=1)
    order = torch.argsort(squared, stable=True)
    return offsets[order[squared[order] <= radius**2]]


def nearest(
    queries: Bool[Tensor, "B X Y Z"],
    keys: Bool[Tensor, "B X Y Z"],
    offsets: Int64[Tensor, "offsets 3"],
    count: int,
) -> VoxelNeighbors:
    """The nearest keys around each query, in its own frame.

    Args:
        queries: Voxels that neighbours are sought for.
        keys: Voxels that can be neighbours.
        offsets: Where they are sought, in this order.
        count: Neighbours of a query, at most the number of offsets.
    """
    reach = int(offsets.abs().max())
    framed = pad(keys, (reach,) * 6)  # so that no offset leaves the volume
    voxel = torch.nonzero(queries)
    shift = _address(offsets, keys.shape[1:])
    framed_shift = _address(offsets, framed.shape[1:])
    start = voxel[:, 0] * framed[0].numel() + _address(voxel[:, 1:] + reach, framed.shape[1:])
    # Scores fall from the first offset to the last, and are 0 without a key.
    score = torch.arange(len(offsets), 0, -1, dtype=torch.int32, device=keys.device)
    ranks = [score.new_zeros(0, count)]
    for part in start.split(_QUERIES_AT_ONCE):
        is_key = framed.flatten()[part[:, None] + framed_shift]  # (Q, offsets)
        ranks.append((is_key * score).topk(count, dim=1).values)
    rank = torch.cat(ranks)
    is_found = rank > 0
    own = voxel[:, 0] * keys[0].numel() + _address(voxel[:, 1:], keys.shape[1:])
    chosen = shift[(len(offsets) - rank).clamp(max=len(offsets) - 1).long()]
    return VoxelNeighbors(own, own[:, None] + chosen.where(is_found, 0), is_found)


def _address(index: Tensor, shape: torch.Size) -> Int64[Tensor, "N"]:
    """Number of voxels before each (x, y, z) of a volume; also of an offset."""
    _, y, z = shape
    return (index[:, 0] * y + index[:, 1]) * z + index[:, 2]
