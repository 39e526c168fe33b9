"""The LiDAR encoder: points to sparse voxels, sparse convolutions, and dense volumes.

At every resolution, exactly the voxels that contain a point have features.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from model.sparse import (
    CONVOLUTIONS,
    DownsampleConv,
    Neighbors,
    SparseVoxels,
    SubmanifoldConv,
)
from model.voxelize import NUM_VOXEL_FEATURES, Voxels, to_dense, voxel_features, voxelize
from utils.geometry import VoxelGrid
from utils.registry import MODELS


class LidarFeatures(NamedTuple):
    """Volumes of the LiDAR.

    Attributes:
        volume: Features on the feature grid; 0 in voxels without points.
        evidence: A few channels on the label grid; the first is 1 in voxels with points. None if
            the encoder was built without evidence.
        num_voxels: Number of occupied voxels at each resolution, finest first.
    """

    volume: Float[Tensor, "B C X Y Z"]
    evidence: Float[Tensor, "B E X2 Y2 Z2"] | None
    num_voxels: Int64[Tensor, "stages"]


@MODELS.register_module()
class LidarEncoder(nn.Module):
    """Sparse convolutions from fine voxels to the feature grid.

    Args:
        grid: The label grid, which the evidence covers.
        coarsening: Label voxels per feature voxel along each axis, a power of 2.
        subdivision: LiDAR voxels per label voxel along each axis, a power of 2.
        stage_channels: Channels at each resolution, from the LiDAR voxels to the feature grid.
        channels: Channels of the volume.
        evidence_channels: Features in the evidence, besides the occupancy flag; None: no evidence,
            for a head that does not use it.
        convolutions: What trains the submanifold convolutions: "torch", "spconv", or "auto" for
            spconv on a GPU where it is installed. Weights and results are the same.
        intensity_max: Unit of the intensity that the weights were trained with: points have 0–1,
            and the network sees the logarithm of 1 + ``intensity_max`` times that.

    Raises:
        ValueError: If the number of stages is not the number of resolutions, ``convolutions``
            is unknown, or ``intensity_max`` is not positive.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        coarsening: int,
        subdivision: int = 1,
        stage_channels: Sequence[int] = (16, 32, 64),
        channels: int = 128,
        evidence_channels: int | None = 16,
        convolutions: str = "auto",
        intensity_max: float = 255.0,
    ) -> None:
        super().__init__()
        if convolutions not in CONVOLUTIONS:
            raise ValueError(f"convolutions must be one of {CONVOLUTIONS}, got '{convolutions}'")
        if not 0 < intensity_max < inf:
            raise ValueError(f"intensity_max must be a number above 0, got {intensity_max}")
        strides = [2**level for level in range(len(stage_channels))]
        if strides[-1] != coarsening * subdivision or subdivision not in strides:
            raise ValueError(
                f"subdivision {subdivision} and coarsening {coarsening} must be powers of 2 with "
                f"one stage for each of the resolutions 1 to {coarsening * subdivision}, "
                f"got {len(stage_channels)} stage_channels"
            )
        self.grid, self.feature_grid = grid, grid.coarsen(coarsening)
        self.lidar_grid = refine(grid, subdivision)
        self.channels, self.intensity_max = channels, intensity_max
        self.evidence_channels = 0 if evidence_channels is None else evidence_channels + 1
        self.label_stage = strides.index(subdivision)
        width = stage_channels[0]
        self.embed = nn.Sequential(nn.Linear(NUM_VOXEL_FEATURES, width), nn.LayerNorm(width))
        self.halve = nn.ModuleList(SparseDownsample(*widths) for widths in pairwise(stage_channels))
        self.stages = nn.ModuleList(SparseBlock(width, convolutions) for width in stage_channels)
        if evidence_channels is not None:
            self.to_evidence = nn.Linear(stage_channels[self.label_stage], evidence_channels)
        self.to_volume = nn.Linear(stage_channels[-1], channels)
        self._compiled: Callable[..., LidarFeatures] | None = None

    def forward(
        self, points: Sequence[Float[Tensor, "_ F"]], room: Sequence[int] | None = None
    ) -> LidarFeatures:
        """Encode a batch of point clouds.

        Args:
            points: x, y, z [m], intensity 0–1 and optionally age [s] of each frame; may be empty.
                Points outside the grid play no part.
            room: Number of voxels of the batch that there is room for, at each resolution. Then all
                shapes are fixed, and the host never waits for the device. Voxels without room are
                dropped: ``num_voxels`` of the result tells. None: room for all, which the host has
                to count.
        """
        if room is None:
            return self.encode(voxelize(points, self.lidar_grid), len(points))
        return (self._compiled or self._with_room)(points, room)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the forward pass with room; without, the shapes change with each frame.

        Args:
            args: As for torch.compile.
            options: Likewise.
        """
        self._compiled = torch.compile(self._with_room, *args, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy keeps: not the compiled code, which has the weights of this one."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_compiled": None}

    def _with_room(
        self, points: Sequence[Float[Tensor, "_ F"]], room: Sequence[int]
    ) -> LidarFeatures:
        voxels = voxelize(points, self.lidar_grid, room[0])
        return self.encode(voxels, len(points), room[1:])

    def encode(
        self, voxels: Voxels, batch_size: int, sizes: Sequence[int | None] | None = None
    ) -> LidarFeatures:
        """Encode voxels.

        Args:
            voxels: The voxels.
            batch_size: Number of frames.
            sizes: Number of rows at each coarser resolution; None: as many as there are voxels.
        """
        features = voxel_features(voxels, self.lidar_grid, self.intensity_max)
        features = torch.relu(self.embed(features))
        sparse = SparseVoxels(features, voxels.coordinates, self.lidar_grid.shape, batch_size)
        evidence, numbers = None, [voxels.number]
        for level, stage in enumerate(self.stages):
            if level:
                size = None if sizes is None else sizes[level - 1]
                sparse, number = self.halve[level - 1](sparse, size)
                numbers.append(number)
            sparse = stage(sparse)
            if level == self.label_stage and self.evidence_channels:
                features = self.to_evidence(sparse.features)
                features = torch.cat([torch.ones_like(features[:, :1]), features], dim=1)
                evidence = to_dense(features, sparse.coordinates, self.grid.shape, batch_size)
        features = torch.relu(self.to_volume(sparse.features))
        volume = to_dense(features, sparse.coordinates, self.feature_grid.shape, batch_size)
        return LidarFeatures(volume, evidence, torch.stack(numbers))


class SparseBlock(nn.Module):
    """Residual block of two submanifold 3×3×3 convolutions.

    It uses layer normalization, which works for any number of voxels, even one, and has no running
    statistics that a sparse frame could corrupt.
    """

    def __init__(self, channels: int, convolutions: str = "auto") -> None:
        super().__init__()
        self.convolutions = convolutions
        self.first = SubmanifoldConv(channels, channels)
        self.first_norm = nn.LayerNorm(channels)
        self.second = SubmanifoldConv(channels, channels)
        self.second_norm = nn.LayerNorm(channels)

    def forward(self, sparse: SparseVoxels) -> SparseVoxels:
        """Compute features of the same voxels."""
        neighbors = Neighbors(sparse, self.convolutions)
        inner = torch.relu(self.first_norm(self.first(sparse.features, neighbors)))
        inner = self.second_norm(self.second(inner, neighbors))
        return sparse._replace(features=torch.relu(inner + sparse.features))


class SparseDownsample(nn.Module):
    """Downsampling by 2, with layer normalization."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.reduce = DownsampleConv(in_channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, sparse: SparseVoxels, size: int | None = None
    ) -> tuple[SparseVoxels, Int64[Tensor, ""]]:
        """Compute features of the occupied voxels at half the resolution.

        Args:
            sparse: The voxels.
            size: Number of rows of the result; None: as many as there are occupied voxels.

        Returns:
            The coarse voxels, and their number, which may be larger than ``size``.
        """
        reduced, number = self.reduce(sparse, size)
        return reduced._replace(features=torch.relu(self.norm(reduced.features))), number


def refine(grid: VoxelGrid, factor: int) -> VoxelGrid:
    """Return the grid of the same box with voxels ``1 / factor`` as wide."""
    x, y, z = (n * factor for n in grid.shape)
    return VoxelGrid(grid.origin_m, grid.voxel_m / factor, (x, y, z))
