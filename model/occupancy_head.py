"""The occupancy head: class scores at the label grid's full resolution."""

from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from utils.labels import FREE
from utils.registry import MODELS


@MODELS.register_module()
class OccupancyHead(nn.Module):
    """Few channels at full resolution: upsampled features beside each sensor's fine evidence.

    The labels are surfaces one voxel thin, which features at half resolution cannot place; the
    evidence can. Nothing here is wider than ``channels``, apart from the evidence as it comes.

    Args:
        in_channels: Channels of the decoded volume.
        evidence_channels: Channels of the evidence of all sensors together; may be 0.
        num_classes: Classes, free included.
        coarsening: Label voxels per voxel of the decoded volume along each axis.
        channels: Channels at full resolution.
        free_prior: Probability of "free" that every voxel starts from, in (0, 1).

    Raises:
        ValueError: If the prior is no probability.
    """

    def __init__(
        self,
        in_channels: int,
        evidence_channels: int,
        num_classes: int,
        coarsening: int,
        channels: int = 32,
        free_prior: float = 0.95,
    ) -> None:
        super().__init__()
        if not 0 < free_prior < 1:
            raise ValueError(f"free_prior must lie between 0 and 1, got {free_prior}")
        # One small matrix for each of the voxels that a coarse one is cut into.
        self.upsample = nn.ConvTranspose3d(in_channels, channels, coarsening, stride=coarsening)
        self.project = (
            nn.Conv3d(evidence_channels, channels, 1, bias=False) if evidence_channels else None
        )
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        self.classify = nn.Conv3d(channels, num_classes, 1)
        # Nearly all voxels are free: starting there spares the first steps from learning it.
        bias = torch.zeros(num_classes)
        bias[FREE] = log(free_prior * (num_classes - 1) / (1 - free_prior))
        self.classify.bias = nn.Parameter(bias)

    def forward(
        self, decoded: Float[Tensor, "B in_channels x y z"], evidence: Sequence[Tensor]
    ) -> Float[Tensor, "B classes X Y Z"]:
        """Class scores of every voxel, in float32 also under autocast.

        Args:
            decoded: Features at the feature grid.
            evidence: (B, E, X, Y, Z) of each sensor, at the label grid.
        """
        fine = self.upsample(decoded)
        if self.project is not None:
            fine = fine + self.project(torch.cat(list(evidence), dim=1))
        fine = self.mix(fine)
        with torch.autocast(fine.device.type, enabled=False):
            return self.classify(fine.float())
