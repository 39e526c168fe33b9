"""The numbers that are measured on each frame, and what is expected of them.

Limits are wide: an error is what no data set of the layout shows, a warning what deserves a look.
"""

import math
from dataclasses import dataclass

from dataset import layout

ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Measure:
    """One number of a frame.

    Attributes:
        title: What it is, in a table.
        folder: Whose file is to blame where it is out of range.
        error: Range outside of which it is an error.
        warning: Range outside of which it is a warning.
        advice: What to look at then.
        is_share: Whether it is a fraction, shown in percent.
    """

    title: str
    folder: str
    error: tuple[float, float] = ANY
    warning: tuple[float, float] = ANY
    advice: str = ""
    is_share: bool = True

    def text(self, value: float) -> str:
        """A value as a table shows it."""
        if self.is_share:
            return f"{100 * value:.1f} %"
        return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"

    def range(self, limits: tuple[float, float]) -> str:
        """A range in words; "" for any value."""
        low, high = limits
        if low > -math.inf and high < math.inf:
            return f"{self.text(low)} to {self.text(high)}"
        if low > -math.inf:
            return f"at least {self.text(low)}"
        return f"at most {self.text(high)}" if high < math.inf else ""

    @property
    def expected(self) -> str:
        """The range that is neither an error nor a warning."""
        (low, high), (error_low, error_high) = self.warning, self.error
        return self.range((max(low, error_low), min(high, error_high)))


MEASURES = {
    "returns": Measure(
        "LiDAR returns",
        layout.CLOUDS,
        error=(1.0, math.inf),
        warning=(500.0, math.inf),
        advice="An almost empty cloud: leave the frame out",
        is_share=False,
    ),
    "range_m": Measure(
        "99 % of returns within [m]",
        layout.CLOUDS,
        error=(1.0, 1000.0),
        warning=(5.0, 400.0),
        advice="Clouds are in metres",
        is_share=False,
    ),
    "returns_in_view": Measure(
        "returns ahead that fall on the image",
        layout.CALIBS,
        error=(0.02, math.inf),
        warning=(0.1, math.inf),
        advice="Look at Tr_velo_to_cam, at P2, and at the axes of the cloud (x forward, y left)",
    ),
    "voxels": Measure(
        "labelled voxels",
        layout.OCCUPANCY,
        error=(1.0, math.inf),
        warning=(500.0, math.inf),
        advice="An almost empty label: leave the frame out",
        is_share=False,
    ),
    "returns_near_occupied": Measure(
        "returns within a voxel of an occupied one",
        layout.OCCUPANCY,
        error=(0.3, math.inf),
        warning=(0.6, math.inf),
        advice="Is it the label of this frame, indexed from the grid's corner?",
    ),
    "returns_near_map": Measure(
        "returns within 0.3 m of the local map",
        layout.LOCAL_MAPS,
        error=(0.3, math.inf),
        warning=(0.6, math.inf),
        advice="The local map is to be in the LiDAR frame of this stem",
    ),
    "depth_labelled": Measure(
        "pixels with a depth label",
        layout.DEPTHS,
        error=(1e-4, math.inf),
        warning=(0.01, math.inf),
        advice="An almost empty label: leave the frame out",
    ),
    "depth_agrees": Measure(
        "returns on the image that agree with the depth label",
        layout.DEPTHS,
        error=(0.2, math.inf),
        warning=(0.5, math.inf),
        advice="Depth labels hold camera depth in metres × 256 of this frame",
    ),
    "elevation_known": Measure(
        "elevation cells with a label",
        layout.ELEVATION,
        warning=(0.01, math.inf),
        advice="An almost empty label",
    ),
    "elevation_wrapped": Measure(
        "elevation cells that wrapped around",
        layout.ELEVATION,
        warning=(-math.inf, 0.2),
        advice="Heights above 1 m do not fit the format and count as no label",
    ),
    "elevation_agrees": Measure(
        "returns within 0.5 m of the elevation label",
        layout.ELEVATION,
        error=(0.2, math.inf),
        warning=(0.4, math.inf),
        advice="Row 0 is the far end, column 0 the left, values (1 − z) × 256 in the LiDAR frame",
    ),
}
"""By the name of the check that a finding carries."""
