"""Prediction: what the network says about one frame."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass
class Prediction:
    """Occupancy of one frame on the configured grid.

    Attributes:
        stem: Name of the frame's files.
        occupancy: Most probable label of each voxel; 0 free, never 255.
        probability: Probability of that label, in (0, 1].
    """

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]
    probability: Float[Tensor, "X Y Z"]
