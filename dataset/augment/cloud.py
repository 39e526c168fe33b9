"""Augmentation of the LiDAR: its intensity, its pattern, its range and its noise."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dataset.augment.ranges import check_interval, check_not_negative, check_shares


@dataclass(frozen=True)
class CloudChoices:
    """The values drawn for one frame; the defaults are the identity.

    Attributes:
        intensity_scale: Factor on the intensity.
        intensity_offset: Added to the intensity, which is then at least 0.
        has_intensity: Whether there is an intensity; otherwise it is 0.
        point_drop: Share of the points that is dropped.
        beam_drop: Share of the beams that is dropped.
        beam_deg: Width of a beam, as an interval of elevation angles.
        max_range_m: Points at or beyond this distance from the sensor are dropped.
        noise_m: Standard deviation of the noise of each coordinate.
    """

    intensity_scale: float = 1.0
    intensity_offset: float = 0.0
    has_intensity: bool = True
    point_drop: float = 0.0
    beam_drop: float = 0.0
    beam_deg: float = 0.5
    max_range_m: float = math.inf
    noise_m: float = 0.0

    @property
    def changes_intensity(self) -> bool:
        """Whether any intensity changes."""
        is_scaled = self.intensity_scale != 1.0 or self.intensity_offset != 0.0
        return is_scaled or not self.has_intensity


@dataclass(frozen=True)
class CloudRanges:
    """Ranges of the LiDAR's augmentation; the defaults are the identity.

    Attributes:
        intensity_scale: Maximum relative change of the intensity in either direction.
        intensity_offset: Maximum offset of the 0–1 intensity in either direction.
        intensity_loss_prob: Probability that all intensities are 0.
        point_drop: Maximum share of the points that is dropped.
        beam_drop: Maximum share of the beams that is dropped.
        beam_deg: Width of a beam, as an interval of elevation angles; must be > 0.
        range_cut_prob: Probability that far points are dropped.
        range_cut_m: Minimum and maximum of the range that they are dropped beyond.
        noise_m: Maximum standard deviation of the noise of each coordinate.

    Raises:
        ValueError: If a value is out of its range.
    """

    intensity_scale: float = 0.0
    intensity_offset: float = 0.0
    intensity_loss_prob: float = 0.0
    point_drop: float = 0.0
    beam_drop: float = 0.0
    beam_deg: float = 0.5
    range_cut_prob: float = 0.0
    range_cut_m: tuple[float, float] = (20.0, 60.0)
    noise_m: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_shares(self, ("intensity_scale", "intensity_offset"))
        check_shares(self, ("intensity_loss_prob", "range_cut_prob"))
        check_shares(self, ("point_drop", "beam_drop"), below_one=True)
        check_interval(self, "range_cut_m")
        check_not_negative(self, ("noise_m",))
        if not 0.0 < self.beam_deg <= 180.0:
            raise ValueError(f"beam_deg must be in (0, 180], got {self.beam_deg}")

    def draw(self, rng: np.random.Generator) -> CloudChoices:
        """Draw the values; consumes the same number of random numbers whatever the ranges."""
        uniform = rng.random(8)
        signed = 2.0 * uniform - 1.0
        low, high = self.range_cut_m
        is_cut = uniform[5] < self.range_cut_prob
        return CloudChoices(
            intensity_scale=float(1.0 + self.intensity_scale * signed[0]),
            intensity_offset=float(self.intensity_offset * signed[1]),
            has_intensity=bool(uniform[2] >= self.intensity_loss_prob),
            point_drop=float(self.point_drop * uniform[3]),
            beam_drop=float(self.beam_drop * uniform[4]),
            beam_deg=self.beam_deg,
            max_range_m=float(low + (high - low) * uniform[6]) if is_cut else math.inf,
            noise_m=float(self.noise_m * uniform[7]),
        )


def augment_cloud(
    cloud: Float32[np.ndarray, "P F"],
    choices: CloudChoices,
    rng: np.random.Generator,
    sensor_from_cloud: Float64[np.ndarray, "4 4"] | None = None,
) -> Float32[np.ndarray, "Q F"]:
    """Augment the points of one sweep.

    Args:
        cloud: x, y, z [m], intensity 0–1, and any other columns, which stay as they are.
        choices: The values drawn for the frame.
        rng: Draws the points and beams that are dropped, and the noise.
        sensor_from_cloud: Transform to the frame of the sensor, z up; None if the points are in it.

    Returns:
        The cloud itself if nothing changes.
    """
    is_kept = _kept(cloud, choices, rng, sensor_from_cloud)
    changed = cloud if is_kept.all() else cloud[is_kept]
    if choices.changes_intensity:
        changed = changed.copy()
        intensity = changed[:, 3] * choices.intensity_scale + choices.intensity_offset
        changed[:, 3] = np.maximum(intensity, 0.0) * choices.has_intensity
    if choices.noise_m > 0.0:
        changed = changed.copy()
        noise = rng.standard_normal((len(changed), 3), dtype=np.float32)
        changed[:, :3] += np.float32(choices.noise_m) * noise
    return changed


def _kept(
    cloud: Float32[np.ndarray, "P F"],
    choices: CloudChoices,
    rng: np.random.Generator,
    sensor_from_cloud: Float64[np.ndarray, "4 4"] | None,
) -> Bool[np.ndarray, " P"]:
    """Return which points are kept."""
    is_kept = np.ones(len(cloud), bool)
    if choices.point_drop > 0.0:
        is_kept &= rng.random(len(cloud)) >= choices.point_drop
    if choices.beam_drop == 0.0 and math.isinf(choices.max_range_m):
        return is_kept
    xyz = cloud[:, :3]
    if sensor_from_cloud is not None:
        xyz = xyz @ sensor_from_cloud[:3, :3].T + sensor_from_cloud[:3, 3]
    ground_range_m = np.hypot(xyz[:, 0], xyz[:, 1])
    if choices.beam_drop > 0.0:
        elevation_deg = np.rad2deg(np.arctan2(xyz[:, 2], ground_range_m))
        beam = np.floor((elevation_deg + 90.0) / choices.beam_deg).astype(np.int64)
        is_lost = rng.random(math.floor(180.0 / choices.beam_deg) + 1) < choices.beam_drop
        is_kept &= ~is_lost[beam]
    return is_kept & (np.hypot(ground_range_m, xyz[:, 2]) < choices.max_range_m)
