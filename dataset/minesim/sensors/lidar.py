"""The LiDAR: the pulses of a model, what they hit, and which points are detected."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from dataset.minesim.scene.dust import Puffs
from dataset.minesim.sensors.lidar_models import LIVOX_HAP, LidarModel
from dataset.minesim.sensors.raycast import NO_HIT, Hits
from dataset.minesim.sensors.stage import Stage

FRAME_S = 0.1
MIN_RANGE_M = 0.5
STRAY_LOSS = 0.01
"""Share of pulses lost at random."""
DUST_SHARE = 0.04
"""Share of pulses that hit dust when it is thickest."""

_REFERENCE_REFLECTANCE = 0.1
"""Reflectance at which the range of a model is stated."""
_BACKSCATTER, _BACKSCATTER_M = 0.45, 12.0
"""Share of the pulses scattered by a plume that are detected nearby, and where it falls to half."""
_PLUME_INTENSITY, _PLUME_FADING_M = 0.09, 8.0
"""Intensity of a nearby plume relative to white, and the distance over which it fades."""
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


def pulses(model: LidarModel, time_s: float) -> Float32[np.ndarray, "R 3"]:
    """Return unit directions of one frame's pulses in the LiDAR frame, x forward.

    Args:
        model: The LiDAR.
        time_s: Time on the sensor clock [s], which determines the pattern of a rosette.
    """
    return rosette(time_s, model=model) if model.pattern == "rosette" else beam_rows(model)


@lru_cache(maxsize=1)
def beam_rows(model: LidarModel) -> Float32[np.ndarray, "R 3"]:
    """Return unit directions of beams at fixed elevations, the lowest first in each column."""
    half = np.deg2rad(model.fov_deg[0] / 2)
    azimuth = np.linspace(half, -half, model.columns, endpoint=False)[:, None]
    elevation = np.deg2rad(model.elevations_deg)
    flat = np.cos(elevation)
    up = np.broadcast_to(np.sin(elevation), (model.columns, model.beams))
    rows = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=-1)
    directions = rows.reshape(-1, 3).astype(np.float32)
    directions.setflags(write=False)
    return directions


def rosette(
    time_s: float, num_rays: int | None = None, *, model: LidarModel = LIVOX_HAP
) -> Float32[np.ndarray, "R 3"]:
    """Return unit directions of one frame's pulses in the LiDAR frame, determined by the time.

    Two counter-rotating prisms draw petals through the center of a disc. Their radius is stretched
    to even out the density, and the disc is mapped to the rectangular field of view.

    Args:
        time_s: Time on the sensor clock [s].
        num_rays: Pulses in the frame; None for those of the model.
        model: The LiDAR, which sets the field of view.
    """
    num_rays = model.columns if num_rays is None else num_rays
    time = time_s + np.arange(num_rays) * (FRAME_S / num_rays)
    first, second = (rate * time for rate in _PRISM_HZ)
    # The phases need float64: the prisms turn thousands of times per second.
    swing = np.mod(0.5 * (first - second), 1.0).astype(np.float32)
    turn = np.mod(0.5 * (first + second), 1.0).astype(np.float32)
    # The beam's distance from the center is |cos|; its rank among all is a triangle wave.
    radius = np.abs(1.0 - np.mod(4.0 * swing, 2.0)) ** np.float32(_DENSITY_EXPONENT)
    is_behind = np.abs(swing - 0.5) < 0.25  # Where the cosine is negative.
    across, up = _square_from_disc(radius, turn + np.where(is_behind, np.float32(0.5), 0.0))
    azimuth = across * float(np.deg2rad(model.fov_deg[0] / 2))
    elevation = up * float(np.deg2rad(model.fov_deg[1] / 2)) + float(np.deg2rad(model.center_deg))
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
    model: LidarModel = LIVOX_HAP,
) -> Scan:
    """Scan one frame.

    Args:
        stage: The scene.
        world_from_lidar: Pose of the LiDAR, x forward.
        time_s: Time on the sensor clock [s], which determines the pattern of a rosette.
        rng: Draws noise, dropouts and dust.
        model: The LiDAR.
    """
    return measure(stage, world_from_lidar, pulses(model, time_s), rng, model=model)


def measure(
    stage: Stage,
    world_from_lidar: Float[np.ndarray, "4 4"],
    directions: Float32[np.ndarray, "R 3"],
    rng: np.random.Generator,
    *,
    model: LidarModel = LIVOX_HAP,
) -> Scan:
    """Send pulses from one position and return the points detected.

    Args:
        stage: The scene.
        world_from_lidar: Pose of the LiDAR.
        directions: Unit directions of the pulses in the LiDAR frame.
        rng: Draws noise, dropouts and dust.
        model: The LiDAR, which sets range, noise and intensity.
    """
    num_rays = len(directions)
    rotation = world_from_lidar[:3, :3].astype(np.float32)
    origin = world_from_lidar[:3, 3].astype(np.float32)
    in_world = directions @ rotation.T
    hits = stage.caster.first_hits(origin, in_world)
    draw = rng.random((3, num_rays), dtype=np.float32)
    distance = hits.distance + rng.normal(0.0, model.noise_m, num_rays).astype(np.float32)

    environment = stage.world.environment
    dust_range = -8.0 * np.log1p(-draw[1]) + 2.0
    is_dust = (draw[2] < DUST_SHARE * environment.dust) & (dust_range < distance)
    dust_intensity: Float32[np.ndarray, R] | float = 4.0
    transmission: Float32[np.ndarray, R] | float = 1.0
    if environment.plumes is not None:
        plume = _plume_echoes(environment.plumes, origin, in_world, hits, rng, model)
        transmission = plume.transmission
        is_plume = plume.is_seen & ~is_dust
        dust_range = np.where(is_plume, plume.range_m, dust_range)
        dust_intensity = np.where(is_plume, plume.intensity, np.float32(dust_intensity))
        is_dust |= is_plume
    detection, cosine = detection_probability(
        stage, hits, in_world, model=model, transmission=transmission
    )
    is_seen = is_dust | (draw[0] < detection * (1.0 - STRAY_LOSS))
    distance = np.where(is_dust, dust_range, distance)
    is_seen &= (distance > MIN_RANGE_M) & (distance < model.max_range_m)

    intensity = _intensity(stage, hits, cosine, model) * transmission
    intensity = np.where(is_dust, dust_intensity, intensity) * (0.9 + 0.2 * draw[1])
    label = np.where(is_dust | (hits.face == NO_HIT), 0, stage.face_label[hits.face])
    points = np.column_stack([directions * distance[:, None], np.clip(intensity, 0.0, 255.0)])
    return Scan(
        points[is_seen].astype(np.float32),
        label[is_seen].astype(np.uint8),
        is_dust[is_seen],
        np.flatnonzero(is_seen),
    )


@dataclass(frozen=True)
class _PlumeEchoes:
    """What plumes do to the pulses of a frame.

    Attributes:
        is_seen: Pulses that a plume scatters back strongly enough for a point.
        range_m: Where; infinite if a pulse is not scattered back.
        intensity: Intensity of these points.
        transmission: Share of the signal of the surface behind that is left.
    """

    is_seen: Bool[np.ndarray, "R"]
    range_m: Float32[np.ndarray, "R"]
    intensity: Float32[np.ndarray, "R"]
    transmission: Float32[np.ndarray, "R"]


def _plume_echoes(
    plumes: Puffs,
    origin: Float32[np.ndarray, "3"],
    directions: Float32[np.ndarray, "R 3"],
    hits: Hits,
    rng: np.random.Generator,
    model: LidarModel,
) -> _PlumeEchoes:
    """Send pulses through plumes: Beer and Lambert's law, there and back.

    Of the pulses scattered back, a share is detected that falls with the square of the range.
    """
    reach = np.minimum(hits.distance, np.float32(model.max_range_m))
    range_m, depth = plumes.first_scattering(origin, directions, reach, rng)
    share = _BACKSCATTER / (1.0 + (range_m / _BACKSCATTER_M) ** 2)
    fading = np.exp(-range_m / _PLUME_FADING_M)
    return _PlumeEchoes(
        is_seen=rng.random(len(directions), dtype=np.float32) < share,
        range_m=range_m,
        intensity=(2.0 + _PLUME_INTENSITY * model.white * fading).astype(np.float32),
        transmission=np.exp(-2.0 * depth),
    )


def detection_probability(
    stage: Stage,
    hits: Hits,
    directions: Float32[np.ndarray, "R 3"],
    *,
    model: LidarModel = LIVOX_HAP,
    transmission: Float32[np.ndarray, "R"] | float = 1.0,
) -> tuple[Float32[np.ndarray, "R"], Float32[np.ndarray, "R"]]:
    """Return the detection probability of each pulse and the cosine of its incidence angle.

    The signal falls with the square of the range, with the incidence angle, and with the light that
    wet or polished surfaces reflect away. A pulse without a hit is never detected.

    Args:
        stage: The scene.
        hits: What the pulses hit.
        directions: Unit directions, world frame.
        model: The LiDAR, which sets the range.
        transmission: Share of the signal that dust lets through on the way there and back.
    """
    normal = stage.face_normal.take(hits.face, axis=0)
    cosine = np.abs(np.einsum("rk,rk->r", normal, directions))
    reflectance = stage.face_reflectance.take(hits.face)
    reflectance = reflectance * (1.0 - stage.face_gloss.take(hits.face)) ** 2
    distance = np.maximum(hits.distance, MIN_RANGE_M)
    signal = reflectance * cosine * (model.range_m / distance) ** 2 * transmission
    seen = 1.0 - np.exp(signal * np.float32(np.log(0.1) / _REFERENCE_REFLECTANCE))
    in_range = (hits.face != NO_HIT) & (hits.distance < model.max_range_m)
    return np.where(in_range, seen, 0.0).astype(np.float32), cosine


def _intensity(
    stage: Stage, hits: Hits, cosine: Float32[np.ndarray, "R"], model: LidarModel
) -> Float32[np.ndarray, "R"]:
    """Return the intensity: up to the model's white if diffuse, 255 on retroreflective surfaces."""
    reflectance = stage.face_reflectance.take(hits.face)
    fading = np.exp(-np.minimum(hits.distance, model.max_range_m) / model.fading_m)
    diffuse = model.white * reflectance * np.sqrt(cosine) * fading
    return np.where(reflectance > 0.9, 255.0, diffuse).astype(np.float32)
