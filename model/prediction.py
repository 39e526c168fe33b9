"""Prediction: what the network predicts for one frame."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor

from model.novel_view import log_free_of


@dataclass
class Prediction:
    """Occupancy of one frame on the configured grid, and elevation if the network predicts it.

    Attributes:
        stem: Name of the frame's files.
        occupancy: Most probable label of each voxel; 0 free, never 255.
        elevation_m: Mean height of each cell of the elevation region in the LiDAR frame [m]; None
            without an elevation head. Row 0 is the far end, column 0 the left.
        logits: Class scores of each voxel, free first; None if only labels are known.
    """

    stem: str
    occupancy: UInt8[Tensor, "X Y Z"]
    elevation_m: Float[Tensor, "rows cols"] | None = None
    logits: Float[Tensor, "classes X Y Z"] | None = None

    @property
    def log_free(self) -> Float[Tensor, "X Y Z"] | None:
        """Log probability that each voxel is free, for rendering; None without logits."""
        return None if self.logits is None else log_free_of(self.logits[None])[0]
