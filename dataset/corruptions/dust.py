"""Airborne dust in both sensors, and fog in the image: Beer–Lambert extinction along each ray.

A vehicle drives in its own plume, 1–15 m from the sensors and uneven over the directions, within a
thin dust over the whole site. Both sensors see the same plume. The equations are in
docs/robustness.md.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from dataset.corruptions.depth import FAR_M
from dataset.corruptions.noise_fields import horizon_plasma, plasma
from dataset.corruptions.weather import LOWEST_INTENSITY, Cloud, Kept, range_m, weakest_signal

PLUME_M = (1.0, 15.0)
"""Where the plume begins and ends along a ray."""
TRIGGER_SHARE = 0.5
"""Probability that a pulse triggers on the dust if all of its light is scattered in the plume."""
DUST_INTENSITY = 0.04
"""Largest intensity of a point on dust."""
DUST_COLOR = np.array([1.0, 0.88, 0.70], np.float32)
FOG_COLOR = np.array([0.95, 0.97, 1.0], np.float32)
_ELEVATION_DEG = (-45.0, 45.0)

Image = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Dust:
    """Dust around the vehicle.

    Attributes:
        plume: Mean extinction coefficient in the plume [1/m].
        site: Extinction coefficient everywhere [1/m].
        density: Density of the plume by elevation and azimuth, with a mean of 1.
    """

    plume: float
    site: float
    density: Float32[np.ndarray, "90 360"]

    @classmethod
    def draw(cls, rng: np.random.Generator, *, plume: float, site: float) -> "Dust":
        """Draw the shape of the plume."""
        field = horizon_plasma(rng, 90).clip(0.2) ** 2
        return cls(plume, site, (field / field.mean()).astype(np.float32))

    def plume_along(self, directions: Float[np.ndarray, "*any 3"]) -> Float32[np.ndarray, "*any"]:
        """Return the extinction coefficient of the plume along some directions [1/m]."""
        azimuth = np.rad2deg(np.arctan2(directions[..., 1], directions[..., 0]))
        flat = np.hypot(directions[..., 0], directions[..., 1])
        elevation = np.rad2deg(np.arctan2(directions[..., 2], flat))
        low, high = _ELEVATION_DEG
        row = np.clip(elevation, low, high - 1e-3) - low
        return self.plume * self.density[row.astype(int), np.floor(azimuth).astype(int) % 360]

    def optical_depth(
        self, along: Float32[np.ndarray, "*any"], distance_m: Float[np.ndarray, "*any"]
    ) -> Float[np.ndarray, "*any"]:
        """Return the optical depth, one way.

        Args:
            along: ``plume_along`` of the rays.
            distance_m: Length of the rays [m].
        """
        start, end = PLUME_M
        return along * (distance_m - start).clip(0, end - start) + self.site * distance_m


def dusty_cloud(points: Cloud, rng: np.random.Generator, dust: Dust) -> Kept:
    """Attenuate the points, lose the weak ones, and let some pulses trigger on the plume.

    Args:
        points: The cloud, relative to the LiDAR.
        rng: Draws which pulses trigger, where, and how bright.
        dust: The dust.
    """
    if not len(points):
        return points
    distance = np.maximum(range_m(points), 1e-3)
    directions = points[:, :3] / distance[:, None]
    along = dust.plume_along(directions)
    passed = np.exp(-2 * dust.optical_depth(along, distance))
    signal = np.maximum(points[:, 3], LOWEST_INTENSITY) * passed / distance**2
    is_seen = signal >= weakest_signal(points)
    # Of the light that passes the plume twice, 1 − exp(−2τ) is scattered on the way.
    start, end = PLUME_M
    depth = along * (np.minimum(distance, end) - start).clip(0)
    scattered = -np.expm1(-2 * depth)
    is_dust = rng.random(len(points)) < TRIGGER_SHARE * scattered
    # Where it is scattered follows by inversion of the same law.
    reached = -0.5 * np.log1p(-scattered * rng.random(len(points)))
    dust_m = start + reached / np.maximum(along, 1e-9)
    dust_intensity = DUST_INTENSITY * rng.random(len(points)) * np.exp(-2 * reached)
    dusty = points.copy()
    dusty[:, :3] *= np.where(is_dust, dust_m / distance, 1)[:, None]
    dusty[:, 3] = np.where(is_dust, dust_intensity, points[:, 3] * passed)
    return dusty[is_seen | is_dust]


def dusty_image(
    image: Image,
    dust: Dust,
    distance_m: Float32[np.ndarray, "H W"],
    directions: Float32[np.ndarray, "H W 3"],
) -> Image:
    """Let the dust hide what each pixel shows, by the same extinction as in the point cloud.

    Args:
        image: The image.
        dust: The dust.
        distance_m: Distance of what each pixel shows.
        directions: Direction of each pixel in the LiDAR frame.
    """
    depth = dust.optical_depth(dust.plume_along(directions), distance_m)
    return veil(image, depth, DUST_COLOR)


def foggy_image(
    image: Image,
    rng: np.random.Generator,
    distance_m: Float32[np.ndarray, "H W"],
    *,
    alpha: float,
) -> Image:
    """Let fog hide what is far, with an uneven density.

    Args:
        image: The image.
        rng: Draws the density.
        distance_m: Distance of what each pixel shows.
        alpha: Mean extinction coefficient [1/m].
    """
    density = 0.6 + 0.8 * plasma(rng, image.shape[:2])
    return veil(image, alpha * density * np.minimum(distance_m, FAR_M), FOG_COLOR)


def veil(
    image: Image, optical_depth: Float[np.ndarray, "H W"], color: Float32[np.ndarray, "3"]
) -> Image:
    """Mix an image with scattered light by Koschmieder's law: I·exp(−τ) + A·(1 − exp(−τ)).

    The scattered light A has the given color and the brightness of the image's light parts, so that
    it is dark at night.
    """
    luminance = image.mean(axis=-1)
    airlight = float(np.clip(np.quantile(luminance, 0.9), 25, 225)) * color
    passed = np.exp(-optical_depth)[..., None].astype(np.float32)
    return np.rint(image * passed + airlight * (1 - passed)).astype(np.uint8)
