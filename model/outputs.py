"""Outputs: what a forward pass gives for a batch."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from model.fusion import Fused
from model.lidar_encoder import LidarFeatures
from model.lift import Lifted


class Outputs(NamedTuple):
    """Outputs of a forward pass: the logits, and what else training supervises."""

    logits: Float[Tensor, "B classes X Y Z"]
    decoded: Float[Tensor, "B C x y z"]
    fused: Fused
    camera: Lifted | None
    lidar: LidarFeatures | None
    elevation: Float[Tensor, "B rows cols"] | None
