"""The measurements of each frame and their limits.

The limits are wide: errors do not occur in valid data sets, and warnings deserve a look. Limits
hold in every data set; margins compare a frame with the other frames of its own.
"""

import math
from dataclasses import dataclass

from dataset import layout
from dataset.registration import MIN_GRID_IN_IMAGES

ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Measure:
    """A measurement of a frame.

    Attributes:
        title: Name in the table.
        folder: Folder of the file to blame.
        error: Values outside this range are an error.
        warning: Values outside this range are a warning.
        advice: What to check then.
        is_share: Whether it is a fraction, shown in percent.
        margin: Values this far below the data set's median are a warning.
    """

    title: str
    folder: str
    error: tuple[float, float] = ANY
    warning: tuple[float, float] = ANY
    advice: str = ""
    is_share: bool = True
    margin: float = math.inf

    def text(self, value: float) -> str:
        """Format a value for the table."""
        if self.is_share:
            return f"{100 * value:.1f} %"
        if abs(value) < 1:
            return f"{value:.2f}"
        return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"

    def range(self, limits: tuple[float, float]) -> str:
        """Format a range; "" for any value."""
        low, high = limits
        if low > -math.inf and high < math.inf:
            return f"{self.text(low)} to {self.text(high)}"
        if low > -math.inf:
            return f"at least {self.text(low)}"
        return f"at most {self.text(high)}" if high < math.inf else ""

    @property
    def expected(self) -> str:
        """The range without errors and warnings."""
        (low, high), (error_low, error_high) = self.warning, self.error
        limits = self.range((max(low, error_low), min(high, error_high)))
        margin = "" if self.margin == math.inf else f"median − {self.text(self.margin)}"
        return ", ".join(text for text in (limits, margin) if text)


MEASURES = {
    "points": Measure(
        "LiDAR points",
        layout.CLOUDS,
        error=(1.0, math.inf),
        warning=(500.0, math.inf),
        advice="The point cloud is almost empty: remove the frame",
        is_share=False,
    ),
    "range_m": Measure(
        "99 % of points within [m]",
        layout.CLOUDS,
        error=(1.0, 1000.0),
        warning=(5.0, 400.0),
        advice="Point clouds must be in meters",
        is_share=False,
    ),
    "intensity": Measure(
        "highest intensity",
        layout.CLOUDS,
        warning=(0.01, 1.0),
        advice="The fourth column of clouds/ must be the intensity, 0 to 255, read as 0 to 1",
        is_share=False,
    ),
    "points_in_view": Measure(
        "points ahead that fall on the image",
        layout.CALIBS,
        error=(0.02, math.inf),
        warning=(0.1, math.inf),
        advice="Check Tr_velo_to_cam, P2 and the axes of the point cloud (x forward, y left)",
    ),
    "grid_in_view": Measure(
        "grid that falls on the image",
        layout.CALIBS,
        warning=(MIN_GRID_IN_IMAGES, math.inf),
        advice="Check Tr_velo_to_cam, P2 and the size of the image",
    ),
    "voxels": Measure(
        "labeled voxels",
        layout.OCCUPANCY,
        error=(1.0, math.inf),
        warning=(500.0, math.inf),
        advice="The label is almost empty: remove the frame",
        is_share=False,
    ),
    "points_near_occupied": Measure(
        "points within a voxel of an occupied one",
        layout.OCCUPANCY,
        error=(0.3, math.inf),
        warning=(0.6, math.inf),
        advice="Is it the label of this frame, with indices from the corner of the grid?",
    ),
    "voxels_labeled": Measure(
        "voxels with 3 points that are labeled",
        layout.OCCUPANCY,
        warning=(0.5, math.inf),
        advice="Is it the label of this frame, in the LiDAR frame?",
        margin=0.1,
    ),
    "label_gain": Measure(
        "more of them after a shift, turn or flip",
        layout.OCCUPANCY,
        error=(-math.inf, 0.3),
        warning=(-math.inf, 0.03),
        advice="Labels and points are registered when no shift, turn or flip improves them",
    ),
    "label_near_map": Measure(
        "labeled voxels and local map in common",
        layout.OCCUPANCY,
        advice="Label and local map must be of the same frame",
        margin=0.05,
    ),
    "road_ahead": Measure(
        "voxels just ahead that are driveable_surface",
        layout.OCCUPANCY,
        warning=(0.3, math.inf),
        advice="Is the order of the classes that of docs/conventions.md?",
    ),
    "map_points": Measure(
        "points of the local map",
        layout.LOCAL_MAPS,
        error=(1.0, math.inf),
        warning=(500.0, math.inf),
        advice="The local map is almost empty: remove the frame",
        is_share=False,
    ),
    "points_near_map": Measure(
        "points within 0.3 m of the local map",
        layout.LOCAL_MAPS,
        error=(0.3, math.inf),
        warning=(0.6, math.inf),
        advice="The local map must be in the LiDAR frame of this stem",
        margin=0.12,
    ),
    "depth_labeled": Measure(
        "pixels with a depth label",
        layout.DEPTHS,
        error=(1e-4, math.inf),
        warning=(0.01, math.inf),
        advice="The label is almost empty: remove the frame",
    ),
    "depth_agrees": Measure(
        "points on the image that agree with the depth label",
        layout.DEPTHS,
        error=(0.2, math.inf),
        warning=(0.5, math.inf),
        advice="Depth labels must be camera depth of this frame, in meters × 256",
    ),
    "depth_close": Measure(
        "points within 0.1 m + 2 % of the depth label",
        layout.DEPTHS,
        advice="Is it the depth label of this frame?",
        margin=0.12,
    ),
    "depth_gain": Measure(
        "more of them after a shift or flip",
        layout.DEPTHS,
        error=(-math.inf, 0.5),
        warning=(-math.inf, 0.1),
        advice="Check Tr_velo_to_cam and P2, and that the label is not flipped",
    ),
    "elevation_labeled": Measure(
        "elevation cells with a label",
        layout.ELEVATION,
        warning=(0.01, math.inf),
        advice="The label is almost empty",
    ),
    "elevation_wrapped": Measure(
        "elevation cells that wrapped around",
        layout.ELEVATION,
        warning=(-math.inf, 0.2),
        advice="Heights above 1 m exceed the format and count as no label",
    ),
    "elevation_agrees": Measure(
        "points within 0.5 m of the elevation label",
        layout.ELEVATION,
        error=(0.2, math.inf),
        warning=(0.4, math.inf),
        advice="Row 0 is the far end, column 0 the left, values (1 − z) × 256 in the LiDAR frame",
    ),
    "elevation_close": Measure(
        "elevation cells within 0.1 m of their points",
        layout.ELEVATION,
        advice="Is it the elevation label of this frame?",
        margin=0.3,
    ),
    "elevation_gain": Measure(
        "more of them after a flip",
        layout.ELEVATION,
        warning=(-math.inf, 0.1),
        advice="Row 0 is the far end, column 0 the left",
    ),
    "elevation_offset_m": Measure(
        "points above the elevation label, median [m]",
        layout.ELEVATION,
        warning=(-0.15, 0.15),
        advice="Values are (1 − z) × 256, z in the LiDAR frame",
        is_share=False,
    ),
    "elevation_near_map": Measure(
        "elevation cells within 5 cm of the local map",
        layout.ELEVATION,
        advice="Elevation and local map must be of the same frame",
        margin=0.1,
    ),
}
"""Measurements by name, which is also the check name of their findings."""
