"""Fusion by nearest neighbors, as in Co-Occ: the direct baseline of RenderFusion.

Each voxel that one sensor sees is related to the nearest voxels that the other sensor sees, in both
directions. The search is exact within a distance: the offsets of a ball of voxels, nearest first,
are looked up around every voxel. The cost is voxels × offsets instead of all pairs of voxels.

Source: Pan et al., "Co-Occ: Coupling Explicit Feature Fusion with Volume Rendering Regularization
for Multi-Modal 3D Semantic Occupancy Prediction", 2024 (GSFusion). There the neighbors are found
for a sample of the voxels and shared with their surroundings, and the related features are
concatenated with both volumes; here they are added to the volume that they enhance.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pad

from model.fusion import Field, Fused, check_any_channels, check_channels, concatenate
from model.render_fusion import Aspect
from utils.geometry import VoxelGrid
from utils.registry import MODELS

_QUERIES_AT_ONCE = 2**15
"""Bounds the memory of a search: with 257 offsets, 70 MB for the addresses."""


@MODELS.register_module()
class KnnFusion(nn.Module):
    """Each sensor's voxels, enhanced by the other sensor's nearest, and a convolution over both.

    With one sensor there is only the convolution.

    Args:
        camera_channels: Channels of the camera volume; 0 without a camera.
        lidar_channels: Channels of the LiDAR volume; 0 without a LiDAR.
        grid: The feature grid, where the volumes lie.
        channels: Channels of the fused volume.
        neighbors: Voxels of the other sensor that each voxel is related to.
        max_distance_m: How far these may be, center to center [m].
        max_camera_voxels: Camera voxels used in each frame: those with the largest features, which
            lie near the most certain surfaces.

    Attributes:
        fields: The fused volume, with colors. Without a camera there is none, for lack of an image
            plane to render to.
        waits_for_device: Whether the host reads something back in each frame: with both sensors,
            the number of voxels to relate.

    Raises:
        ValueError: If there is neither volume, or fewer voxels within the distance than neighbors.
    """

    offsets: Tensor

    def __init__(
        self,
        camera_channels: int,
        lidar_channels: int,
        grid: VoxelGrid,
        channels: int,
        neighbors: int = 2,
        max_distance_m: float = 2.4,
        max_camera_voxels: int = 16384,
    ) -> None:
        super().__init__()
        check_any_channels(camera_channels, lidar_channels)
        self.in_channels, self.channels = (camera_channels, lidar_channels), channels
        self.fields: tuple[str, ...] = ("fused",) if camera_channels else ()
        self.neighbors, self.max_camera_voxels = neighbors, max_camera_voxels
        self.waits_for_device = bool(camera_channels and lidar_channels)
        offsets = ball_offsets(max_distance_m / grid.voxel_m)
        if not 1 <= neighbors <= len(offsets) or max_camera_voxels < 1:
            raise ValueError(
                f"nearest neighbors need 1 to {len(offsets)} neighbors, which is how many voxels "
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

        Raises:
            ValueError: If a volume is missing, or its channels are not those of the constructor.
        """
        check_channels(self.in_channels, camera, lidar)
        if camera is not None and lidar is not None:
            camera, lidar = self.enhance(camera, lidar)
        volume = self.mix(concatenate(self.in_channels, camera, lidar))
        if camera is None or not with_fields:
            return Fused(volume)
        hidden, density = self.aspect(volume)
        return Fused(volume, fused=Field(density, self.color(hidden).float().sigmoid()))

    def enhance(
        self, camera: Float[Tensor, "B camera X Y Z"], lidar: Float[Tensor, "B lidar X Y Z"]
    ) -> tuple[Float[Tensor, "B camera X Y Z"], Float[Tensor, "B lidar X Y Z"]]:
        """Enhance both volumes, each by its neighbors in the other."""
        in_camera = strongest(magnitude(camera), self.max_camera_voxels)
        in_lidar = magnitude(lidar) > 0
        of_camera = nearest(in_camera, in_lidar, self.offsets, self.neighbors)
        of_lidar = nearest(in_lidar, in_camera, self.offsets, self.neighbors)
        return (
            self.relate_camera(camera, lidar, of_camera),
            self.relate_lidar(lidar, camera, of_lidar),
        )


class NearestVoxels(NamedTuple):
    """The nearest voxels of Q voxels, as flat indices into a batch of volumes: frame, x, y, z.

    Attributes:
        voxel: The voxels, in order.
        neighbor: Their neighbors, nearest first; where there is none, the voxel itself.
        is_found: Whether there is one.
    """

    voxel: Int64[Tensor, "Q"]
    neighbor: Int64[Tensor, "Q k"]
    is_found: Bool[Tensor, "Q k"]


class Relate(nn.Module):
    """Adds to each voxel its own features, gated by those of its neighbors.

    There is no bias, so a voxel without neighbors does not change.
    """

    def __init__(self, channels: int, other_channels: int, neighbors: int) -> None:
        super().__init__()
        self.gate = nn.Linear(neighbors * other_channels, channels, bias=False)

    def forward(
        self,
        volume: Float[Tensor, "B C X Y Z"],
        other: Float[Tensor, "B other X Y Z"],
        neighbors: NearestVoxels,
    ) -> Float[Tensor, "B C X Y Z"]:
        """The enhanced volume (channels_last_3d).

        Args:
            volume: The volume to enhance.
            other: The volume that holds the neighbors.
            neighbors: Voxels of ``volume``, and their neighbors in ``other``.
        """
        features = volume.permute(0, 2, 3, 4, 1).flatten(0, 3)  # (B·X·Y·Z, C)
        around = other.permute(0, 2, 3, 4, 1).flatten(0, 3)[neighbors.neighbor]  # (Q, k, other)
        around = around * neighbors.is_found[..., None]
        gate = torch.relu(self.gate(around.flatten(1)))
        related = features[neighbors.voxel] * gate
        enhanced = features.index_add(0, neighbors.voxel, related.to(features.dtype))
        return enhanced.unflatten(0, (len(volume), *volume.shape[2:])).permute(0, 4, 1, 2, 3)


def magnitude(volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B X Y Z"]:
    """Norm of the features, without a gradient; 0 where a sensor sees nothing."""
    return torch.linalg.vector_norm(volume.detach(), dim=1)


def strongest(strength: Float[Tensor, "B X Y Z"], limit: int) -> Bool[Tensor, "B X Y Z"]:
    """The voxels of each frame with the largest strength > 0, at most ``limit`` of them."""
    flat = strength.flatten(1)
    top, voxel = flat.topk(min(limit, flat.shape[1]), dim=1, sorted=False)
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter(1, voxel, top > 0)
    return kept.view_as(strength)


def ball_offsets(radius: float) -> Int64[Tensor, "offsets 3"]:
    """Offsets to the voxels whose centers lie within ``radius`` voxels, nearest first.

    Ties are in the order of x, y, z.

    Raises:
        ValueError: If the radius is negative.
    """
    if radius < 0:
        raise ValueError(f"the distance of neighbors must be at least 0, got {radius} voxels")
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
) -> NearestVoxels:
    """The nearest keys of each query, in the same frame.

    Args:
        queries: Voxels to find neighbors for.
        keys: Voxels that can be neighbors.
        offsets: Where to look, nearest first.
        count: Neighbors of a query, at most the number of offsets.
    """
    reach = int(offsets.abs().max())
    framed = pad(keys, (reach,) * 6)  # so that no offset leaves the volume
    voxel = torch.nonzero(queries)
    shift = _address(offsets, keys.shape[1:])
    framed_shift = _address(offsets, framed.shape[1:])
    start = voxel[:, 0] * framed[0].numel() + _address(voxel[:, 1:] + reach, framed.shape[1:])
    # Scores decrease from the first offset to the last, and are 0 without a key.
    score = torch.arange(len(offsets), 0, -1, dtype=torch.int32, device=keys.device)
    ranks = [score.new_zeros(0, count)]
    for part in start.split(_QUERIES_AT_ONCE):
        is_key = framed.flatten()[part[:, None] + framed_shift]  # (Q, offsets)
        ranks.append((is_key * score).topk(count, dim=1).values)
    rank = torch.cat(ranks)
    is_found = rank > 0
    own = voxel[:, 0] * keys[0].numel() + _address(voxel[:, 1:], keys.shape[1:])
    chosen = shift[(len(offsets) - rank).clamp(max=len(offsets) - 1).long()]
    return NearestVoxels(own, own[:, None] + chosen.where(is_found, 0), is_found)


def _address(index: Tensor, shape: torch.Size) -> Int64[Tensor, "N"]:
    """Flat index of each (x, y, z) in a volume; also of an offset."""
    _, y, z = shape
    return (index[:, 0] * y + index[:, 1]) * z + index[:, 2]
