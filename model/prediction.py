"""Prediction: what the network says about one frame."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass
class Prediction:
    """Occupancy of one frame on the configured grid, and elevation where there is a head for it.

    Attributes:
        stem: Name of the frame's files.
        occupancy: Most probable label of each voxel; 0 free, never 255.
        elevation_m: Mean height of each cell of the elevation region in the LiDAR frame [m]; None
            where the network has no such head. Row 0 is the far end, column 0 the left.
        log_free: Log probability that each voxel is free, for rendering; None where a network
            does not say, or was not asked (``UnsOcc.gives_log_free``).
    """

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]
    elevation_m: Float[Tensor, "rows cols"] | None = None
    log_free: Float[Tensor, "X Y Z"] | None = None
