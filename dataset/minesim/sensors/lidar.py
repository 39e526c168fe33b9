"""The LiDAR: a forward-facing solid-state sensor like the Livox HAP, and a general LiDAR model.

The sensor covers 120° × 25° at 10 Hz with a non-repeating rosette, 2 cm of range noise and 150 m
of range.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from dataset.minesim.sensors.raycast import NO_HIT, Hits
from dataset.minesim.sensors.stage import Stage

FOV_DEG = (120.0, 25.0)
TILT_DEG = -5.0
"""Elevation of the center of the field of view: the sensor is tilted toward the road."""
RAYS_PER_FRAME = 55_000
"""Pulses per frame; about 45,000 yield a point, as some hit the sky and some are too weak."""
FRAME_S = 0.1
MAX_RANGE_M = 150.0
MIN_RANGE_M = 0.5
RANGE_NOISE_M = 0.02
STRAY_LOSS = 0.01
"""Share of pulses lost at random."""
DUST_SHARE = 0.04
"""Share of pulses that hit dust when it is thickest."""

_REFERENCE_SIGNAL = 0.1
"""Reflectance detected with 90 % probability at normal incidence and full range."""
_PRISM_HZ = (3887.23, -520.17)
"""Each swing turns the pattern by about the golden ratio, so that petals never coincide."""
_DENSITY_EXPONENT = 0.55
"""0.5 spreads the rays evenly; larger values draw them to the center, as the rosette does."""


@dataclass(frozen=True)
class Scan:
    """Points of one frame.

    Attributes:
        points: x, y, z [m] in the LiDAR frame, and intensity 0–255.
        label: Class of the face that each point lies on; 0 for background and dust.
        is_dust: Points on airborne dust, which lie on no surface.
        pulse: Index of the pulse that each point came from.
    """

    points: Float32[np.ndarray, "N 4"]
    label: UInt8[np.ndarray, "N"]
    is_dust: Bool[np.ndarray, "N"]
    pulse: Int64[np.ndarray, "N"]


def rosette(time_s: float, num_rays: int = RAYS_PER_FRAME) -> Float32[np.ndarray, "R 3"]:
    """Return unit directions of one frame's pulses in the LiDAR frame, determined by the time.

    Two counter-rotating prisms draw petals through the center of a disc. Their radius is stretched
    to even out the density, and the disc is mapped to the rectangular field of view.
    """
    time = time_s + np.arange(num_rays) * (FRAME_S / num_rays)
    first, second = (rate * time for rate in _PRISM_HZ)
    # The phases need float64: the prisms turn thousands of times per second.
    swing = np.mod(0.5 * (first - second), 1.0).astype(np.float32)
    turn = np.mod(0.5 * (first + second), 1.0).astype(np.float32)
    # The beam's distance from the center is |cos|; its rank among all is a triangle wave.
    radius = np.abs(1.0 - np.mod(4.0 * swing, 2.0)) ** np.float32(_DENSITY_EXPONENT)
    is_behind = np.abs(swing - 0.5) < 0.25  # Where the cosine is negative.
    across, up = _square_from_disc(radius, turn + np.where(is_behind, np.float32(0.5), 0.0))
    azimuth = across * float(np.deg2rad(FOV_DEG[0] / 2))
    elevation = up * float(np.deg2rad(FOV_DEG[1] / 2)) + float(np.deg2rad(TILT_DEG))
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)


def _square_from_disc(
    radius: Float32[np.ndarray, "R"], turn: Float32[np.ndarray, "R"]
) -> tuple[Float32[np.ndarray, "R"], Float32[np.ndarray, "R"]]:
    """Map the unit disc to the square [-1, 1]² with equal areas.

    Source: Shirley and Chiu's concentric map: each quarter of the disc becomes a triangle.
    """
    quarter = np.mod(turn * 4.0 + 0.5, 4.0)
    side = np.floor(quarter)
    along = radius * (2.0 * (quarter - side) - 1.0)
    faces_x = (side == 0) | (side == 2)
    sign = np.where(side < 2, np.float32(1.0), np.float32(-1.0))
    x = np.where(faces_x, radius, -along) * sign
    y = np.where(faces_x, along, radius) * sign
    return x, y


def scan(
    stage: Stage,
    world_from_lidar: Float[np.ndarray, "4 4"],
    time_s: float,
    rng: np.random.Generator,
    *,
    num_rays: int = RAYS_PER_FRAME,
) -> Scan:
    """Scan one frame with the forward-facing LiDAR.

    Args:
        stage: The scene.
        world_from_lidar: Pose of the LiDAR.
        time_s: Time on the sensor clock [s], which determines the pattern.
        rng: Draws noise, dropouts and dust.
        num_rays: Pulses in the frame.
    """
    return measure(stage, world_from_lidar, rosette(time_s, num_rays), rng)


def measure(
    stage: Stage,
    world_from_lidar: Float[np.ndarray, "4 4"],
    directions: Float32[np.ndarray, "R 3"],
    rng: np.random.Generator,
) -> Scan:
    """Send pulses from one position and return the points detected.

    Args:
        stage: The scene.
        world_from_lidar: Pose of the LiDAR.
        directions: Unit directions of the pulses in the LiDAR frame.
        rng: Draws noise, dropouts and dust.
    """
    num_rays = len(directions)
    rotation = world_from_lidar[:3, :3].astype(np.float32)
    in_world = directions @ rotation.T
    hits = stage.caster.first_hits(world_from_lidar[:3, 3].astype(np.float32), in_world)
    detection, cosine = detection_probability(stage, hits, in_world)
    draw = rng.random((3, num_rays), dtype=np.float32)
    distance = hits.distance + rng.normal(0.0, RANGE_NOISE_M, num_rays).astype(np.float32)

    dust_range = -8.0 * np.log1p(-draw[1]) + 2.0
    is_dust = (draw[2] < DUST_SHARE * stage.world.environment.dust) & (dust_range < distance)
    is_seen = is_dust | (draw[0] < detection * (1.0 - STRAY_LOSS))
    distance = np.where(is_dust, dust_range, distance)
    is_seen &= (distance > MIN_RANGE_M) & (distance < MAX_RANGE_M)

    intensity = _intensity(stage, hits, cosine)
    intensity = np.where(is_dust, 4.0, intensity) * (0.9 + 0.2 * draw[1])
    label = np.where(is_dust | (hits.face == NO_HIT), 0, stage.face_label[hits.face])
    points = np.column_stack([directions * distance[:, None], np.clip(intensity, 0.0, 255.0)])
    return Scan(
        points[is_seen].astype(np.float32),
        label[is_seen].astype(np.uint8),
        is_dust[is_seen],
        np.flatnonzero(is_seen),
    )


def detection_probability(
    stage: Stage, hits: Hits, directions: Float32[np.ndarray, "R 3"]
) -> tuple[Float32[np.ndarray, "R"], Float32[np.ndarray, "R"]]:
    """Return the detection probability of each pulse and the cosine of its incidence angle.

    The signal falls with the square of the range, with the incidence angle, and with the light that
    wet or polished surfaces reflect away. A pulse without a hit is never detected.
    """
    normal = stage.face_normal[hits.face]
    cosine = np.abs(np.einsum("rk,rk->r", normal, directions))
    reflectance = stage.face_reflectance[hits.face] * (1.0 - stage.face_gloss[hits.face]) ** 2
    distance = np.maximum(hits.distance, MIN_RANGE_M)
    signal = reflectance * cosine * (MAX_RANGE_M / distance) ** 2
    seen = 1.0 - np.exp(signal * np.float32(np.log(0.1) / _REFERENCE_SIGNAL))
    in_range = (hits.face != NO_HIT) & (hits.distance < MAX_RANGE_M)
    return np.where(in_range, seen, 0.0).astype(np.float32), cosine


def _intensity(
    stage: Stage, hits: Hits, cosine: Float32[np.ndarray, "R"]
) -> Float32[np.ndarray, "R"]:
    """Return the intensity: 0–150 on diffuse surfaces, up to 255 on retroreflective ones."""
    reflectance = stage.face_reflectance[hits.face]
    fading = np.exp(-np.minimum(hits.distance, MAX_RANGE_M) / 250.0)
    diffuse = 150.0 * reflectance * np.sqrt(cosine) * fading
    return np.where(reflectance > 0.9, 255.0, diffuse).astype(np.float32)
