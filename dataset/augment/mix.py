"""Mix two frames: directions of a sector, or of alternating bands, show the other frame.

The directions are seen from the camera, so that image, depth, points and labels are cut along the
same rays; without a camera they are seen from the LiDAR.

Source: the sectors are those of PolarMix (Xiao et al., 2022), the bands those of LaserMix (Kong et
al., 2023), which mix points and their labels only.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dataset import layout
from dataset.augment.parts import FrameParts
from dataset.augment.ranges import check_interval, check_shares

_SECTOR_CENTERS_DEG = (-60.0, 60.0)
"""Azimuths of the middle of a sector; 0 is straight ahead."""


@dataclass(frozen=True)
class MixChoices:
    """Which directions show the other frame; none by default.

    Attributes:
        sector_deg: Azimuths where a sector starts and ends, counter-clockwise.
        bands_deg: Width of the bands of inclination, and inclination where one of them starts.
    """

    sector_deg: tuple[float, float] | None = None
    bands_deg: tuple[float, float] | None = None

    @property
    def is_on(self) -> bool:
        """Whether another frame is needed."""
        return self.sector_deg is not None or self.bands_deg is not None

    def is_other(self, rays: Float[np.ndarray, "*any 3"]) -> Bool[np.ndarray, "*any"]:
        """Return which directions show the other frame."""
        x, y, z = np.moveaxis(rays, -1, 0)
        if self.sector_deg is not None:
            start, end = self.sector_deg
            return np.mod(np.rad2deg(np.arctan2(y, x)) - start, 360.0) < end - start
        assert self.bands_deg is not None, "directions are mixed only if a choice is on"
        width, start = self.bands_deg
        inclination_deg = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
        return np.mod(np.floor((inclination_deg - start) / width), 2) == 1


@dataclass(frozen=True)
class MixRanges:
    """Ranges of the mixing; the defaults are the identity.

    Attributes:
        sector_prob: Probability of a sector of azimuths from another frame.
        sector_deg: Minimum and maximum width of the sector.
        bands_prob: Probability of bands of inclination from another frame.
        bands_deg: Minimum and maximum width of the bands; every second one is the other frame's.

    Raises:
        ValueError: If a value is out of its range, or the probabilities exceed 1 together.
    """

    sector_prob: float = 0.0
    sector_deg: tuple[float, float] = (20.0, 90.0)
    bands_prob: float = 0.0
    bands_deg: tuple[float, float] = (2.0, 8.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_shares(self, ("sector_prob", "bands_prob"))
        check_interval(self, "sector_deg")
        check_interval(self, "bands_deg")
        if self.sector_prob + self.bands_prob > 1.0:
            raise ValueError(
                "sector_prob and bands_prob must be at most 1 together, got "
                f"{self.sector_prob} and {self.bands_prob}"
            )

    @property
    def is_on(self) -> bool:
        """Whether frames are ever mixed."""
        return self.sector_prob + self.bands_prob > 0.0

    def draw(self, rng: np.random.Generator) -> MixChoices:
        """Draw the values; consumes the same number of random numbers whatever the ranges."""
        which, size, place = rng.random(3)
        if which < self.sector_prob:
            center = _between(_SECTOR_CENTERS_DEG, place)
            half = 0.5 * _between(self.sector_deg, size)
            return MixChoices(sector_deg=(center - half, center + half))
        if which < self.sector_prob + self.bands_prob:
            width = _between(self.bands_deg, size)
            return MixChoices(bands_deg=(width, 2.0 * width * place))
        return MixChoices()


def mix(parts: FrameParts, other: FrameParts, choices: MixChoices) -> FrameParts:
    """Return the frame with the chosen directions of another one.

    Args:
        parts: The frame.
        other: A frame with the same parts and the same projection.
        choices: Which directions show the other frame.
    """
    eye = parts.viewpoint_m()
    changes: dict[str, np.ndarray] = {}
    if parts.points is not None and other.points is not None:
        is_own = ~choices.is_other(parts.points[:, :3] - eye)
        is_other = choices.is_other(other.points[:, :3] - eye)
        changes["points"] = np.concatenate([parts.points[is_own], other.points[is_other]])
    if parts.occupancy is not None and other.occupancy is not None:
        changes["occupancy"] = _mixed_labels(parts.occupancy, other.occupancy, eye, choices)
    if parts.elevation_m is not None and other.elevation_m is not None:
        is_own = ~choices.is_other(_cell_positions(parts.elevation_m) - eye)
        is_other = choices.is_other(_cell_positions(other.elevation_m) - eye)
        own = np.where(is_own, parts.elevation_m, np.float32(np.nan))
        changes["elevation_m"] = np.where(is_other, other.elevation_m, own)
    if parts.pixel_from_lidar is not None and parts.view_size is not None:
        is_other = choices.is_other(pixel_rays(parts.pixel_from_lidar, parts.view_size))
        if parts.image is not None and other.image is not None:
            changes["image"] = np.where(is_other[..., None], other.image, parts.image)
        if parts.depth_m is not None and other.depth_m is not None:
            changes["depth_m"] = np.where(is_other, other.depth_m, parts.depth_m)
    return replace(parts, **changes)


def pixel_rays(
    pixel_from_lidar: Float[np.ndarray, "4 4"], size: tuple[int, int]
) -> Float[np.ndarray, "H W 3"]:
    """Return the direction of each pixel's ray in the LiDAR frame, in float32."""
    rows, columns = np.indices(size, np.float32) + np.float32(0.5)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays: Float[np.ndarray, "H W 3"] = pixels @ np.linalg.inv(pixel_from_lidar[:3, :3]).T.astype(
        np.float32
    )
    return rays


def _mixed_labels(
    own: UInt8[np.ndarray, "X Y Z"],
    other: UInt8[np.ndarray, "X Y Z"],
    eye: Float[np.ndarray, " 3"],
    choices: MixChoices,
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return labels whose voxels at the chosen directions are the other frame's."""
    grid = layout.LABEL_GRID
    x, y, z = (
        np.float32(origin - from_m)
        + np.float32(grid.voxel_m) * (np.arange(n, dtype=np.float32) + 0.5)
        for origin, from_m, n in zip(grid.origin_m, eye, grid.shape, strict=True)
    )
    if choices.sector_deg is not None:
        z = z[:1]  # The sector has the whole column.
    rays = np.stack(np.broadcast_arrays(x[:, None, None], y[:, None], z), axis=-1)
    return np.where(choices.is_other(rays), other, own)


def _cell_positions(
    elevation_m: Float[np.ndarray, "rows cols"],
) -> Float[np.ndarray, "rows cols 3"]:
    """Return the middle of each cell of an elevation map, at its height."""
    grid = layout.elevation_grid((elevation_m.shape[0], elevation_m.shape[1]))
    centers_m = grid.centers_m().numpy()
    return np.concatenate([centers_m, elevation_m[..., None]], axis=-1)


def _between(ends: tuple[float, float], share: float) -> float:
    return float(ends[0] + (ends[1] - ends[0]) * share)
