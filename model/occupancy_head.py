"""Occupancy heads: class scores of all label voxels, computed on the label or the feature grid."""

from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from model.convolutions import BlockUpsample
from utils.labels import FREE
from utils.registry import MODELS


@MODELS.register_module()
class OccupancyHead(nn.Module):
    """Few channels at full resolution: upsampled features plus each sensor's fine evidence.

    The labels are surfaces one voxel thin. Features at half resolution cannot locate them; the
    evidence can. No layer here has more than ``channels`` channels, except its evidence input.

    Args:
        in_channels: Channels of the decoded volume.
        evidence_channels: Channels of the evidence of all sensors together; may be 0.
        num_classes: Classes, free included.
        coarsening: Label voxels per voxel of the decoded volume along each axis.
        channels: Channels at full resolution.
        free_prior: Initial probability of "free" in every voxel, in (0, 1).

    Raises:
        ValueError: If the prior is not in (0, 1).
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
        # One small matrix for each fine voxel in a coarse one.
        self.upsample = BlockUpsample(in_channels, channels, coarsening)
        self.project = (
            nn.Conv3d(evidence_channels, channels, 1, bias=False) if evidence_channels else None
        )
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        self.classify = classifier(channels, num_classes, free_prior)

    def forward(
        self, decoded: Float[Tensor, "B in_channels x y z"], evidence: Sequence[Tensor]
    ) -> Float[Tensor, "B classes X Y Z"]:
        """Class scores of every voxel, in float32 also under autocast.

        Args:
            decoded: Features on the feature grid.
            evidence: (B, E, X, Y, Z) of each sensor, on the label grid.
        """
        fine = self.upsample(decoded)
        if self.project is not None:
            fine = fine + self.project(torch.cat(list(evidence), dim=1))
        fine = self.mix(fine)
        with torch.autocast(fine.device.type, enabled=False):
            return self.classify(fine.float())


@MODELS.register_module()
class CoarseOccupancyHead(nn.Module):
    """Class scores on the feature grid, interpolated to the label grid: a half-resolution head.

    The baseline of ``OccupancyHead``; it does not use fine evidence. With a ``coarsening`` of 1 the
    feature grid is the label grid, and nothing is interpolated.

    Args:
        in_channels: Channels of the decoded volume.
        evidence_channels: Must be 0.
        num_classes: Classes, free included.
        coarsening: Label voxels per voxel of the decoded volume along each axis.
        channels: Channels between the decoded volume and the scores.
        free_prior: Initial probability of "free" in every voxel, in (0, 1).

    Raises:
        ValueError: If there is evidence, or the prior is not in (0, 1).
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
        if evidence_channels:
            raise ValueError(
                "CoarseOccupancyHead uses no evidence: set lift.evidence_channels and "
                f"lidar_encoder.evidence_channels to None; together they have {evidence_channels}"
            )
        self.coarsening = coarsening
        self.mix = nn.Sequential(
            nn.Conv3d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        self.classify = classifier(channels, num_classes, free_prior)

    def forward(
        self, decoded: Float[Tensor, "B in_channels x y z"], evidence: Sequence[Tensor]
    ) -> Float[Tensor, "B classes X Y Z"]:
        """Class scores of every voxel, in float32 also under autocast.

        Args:
            decoded: Features on the feature grid.
            evidence: Empty.
        """
        assert not evidence, "built without evidence"
        coarse = self.mix(decoded)
        with torch.autocast(coarse.device.type, enabled=False):
            logits = self.classify(coarse.float())
            return interpolate(
                logits, scale_factor=self.coarsening, mode="trilinear", align_corners=False
            )


@MODELS.register_module()
class BranchHead(nn.Module):
    """Class scores from one sensor's volume alone, so that no branch leaves all to the other.

    Args:
        in_channels: Channels of the volume.
        num_classes: Classes, free included.
        free_prior: Probability of "free" that every voxel starts from, in (0, 1).

    Raises:
        ValueError: If the prior is not a probability.
    """

    def __init__(self, in_channels: int, num_classes: int, free_prior: float = 0.9) -> None:
        super().__init__()
        self.look = nn.Conv3d(in_channels, in_channels, 3, padding=1)
        self.classify = classifier(in_channels, num_classes, free_prior)

    def forward(self, volume: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B classes X Y Z"]:
        """Class scores of every voxel, in float32 also under autocast."""
        looked = torch.relu(self.look(volume))
        with torch.autocast(looked.device.type, enabled=False):
            return self.classify(looked.float())


def classifier(channels: int, num_classes: int, free_prior: float) -> nn.Conv3d:
    """A 1×1×1 convolution to class scores that starts from a prior.

    Nearly all voxels are free; the prior saves the first iterations from learning that.

    Args:
        channels: Channels of the features.
        num_classes: Classes, free included.
        free_prior: Probability of "free", in (0, 1); the others share the rest.

    Raises:
        ValueError: If the prior is not in (0, 1).
    """
    if not 0 < free_prior < 1:
        raise ValueError(f"free_prior must lie between 0 and 1, got {free_prior}")
    classify = nn.Conv3d(channels, num_classes, 1)
    bias = torch.zeros(num_classes)
    bias[FREE] = log(free_prior * (num_classes - 1) / (1 - free_prior))
    classify.bias = nn.Parameter(bias)
    return classify
