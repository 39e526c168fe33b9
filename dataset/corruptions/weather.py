"""Fog, snow and wet ground in a point cloud, from the physics of the pulse.

Points are relative to the LiDAR: x forward, y left, z up [m], intensity 0–1, and any other columns.
docs/robustness.md has the equations.

Sources: M. Hahner et al., "Fog Simulation on Real LiDAR Point Clouds for 3D Object Detection in
Adverse Weather" (ICCV 2021), and "LiDAR Snowfall Simulation for Robust 3D Object Detection" (CVPR
2022), written here for arrays of points and in closed form.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32

Cloud = Float32[np.ndarray, "P F"]
Kept = Float32[np.ndarray, "Q F"]

HALF_PULSE_S = 20e-9
"""Half-power width of the pulse."""
LIGHT_M_S = 299_792_458.0
TARGET_REFLECTIVITY = 1e-6 / np.pi
"""Differential reflectivity of a solid target, in the units of the back-scatter coefficient."""
OVERLAP_M = (0.9, 1.0)
"""The receiver sees nothing before the first range, and everything after the second."""
FLAKE_REFLECTANCE = 0.9
DIVERGENCE_RAD, APERTURE_M = 3e-3, 0.015
"""Width of the pulse: how it grows with the range, and at the sensor [m]."""
FOCUS_M = 10.0
"""Nearer than this, the receiver is out of focus and gets the share (r / focus)² of the light."""
SNOW_DENSITY = 0.1
"""Density of fallen snow relative to water."""
PAVEMENT_DEPTH_MM = 1.2
"""Water of this depth fills the pores of the ground."""
WATER_INDEX = 1.33
_INNER_REFLECTANCE = 0.47
"""Share of diffuse light that a water surface reflects back down."""
LOWEST_INTENSITY = 0.5 / 255
"""What a file with 8 bits rounds to 0."""
_CELL_M, _GROUND_M = 2.0, 0.25


def fog(points: Cloud, rng: np.random.Generator, *, alpha: float, beta: float) -> Cloud:
    """Simulate fog (Hahner et al., ICCV 2021).

    A point is attenuated, or replaced by the echo of the fog in front of it where that is stronger.

    Args:
        points: The cloud.
        rng: Draws where in the fog the echoes are.
        alpha: Extinction coefficient [1/m].
        beta: Back-scatter coefficient [1/m].
    """
    distance = np.maximum(range_m(points), OVERLAP_M[0])
    clear = np.maximum(points[:, 3], LOWEST_INTENSITY)
    solid = clear * np.exp(-2 * alpha * distance)
    table_m, peak_m, integral = _fog_echo(alpha)
    strength = beta / TARGET_REFLECTIVITY * np.interp(distance, table_m, integral)
    echo = clear * distance**2 * strength
    # Real fog is uneven, so its echoes scatter around the range of the strongest.
    echo_m = np.interp(distance, table_m, peak_m) * rng.uniform(0.7, 1.6, len(points))
    is_fog = (echo > solid) & (echo_m < distance)
    fogged = points.copy()
    fogged[:, :3] *= np.where(is_fog, echo_m / distance, 1)[:, None]
    fogged[:, 3] = np.where(is_fog, echo, solid).clip(0, 1)
    return fogged


@lru_cache(maxsize=16)
def _fog_echo(
    alpha: float,
) -> tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"], Float[np.ndarray, "T"]]:
    """Tabulate the strongest echo of fog in front of a target.

    Returns:
        Ranges of targets [m], range of the strongest echo for each [m], and its integral [s/m²]:
        ∫ sin²(π t / 2τ) exp(−2αr) / r² ξ(r) dt over the pulse, where r = R − ct/2.
    """
    target_m = np.concatenate([np.arange(0.5, 30, 0.1), np.arange(30, 260, 5.0)])
    time_s = np.linspace(0, 2 * HALF_PULSE_S, 80)
    echo_m = target_m[:, None] - LIGHT_M_S * time_s / 2
    start, end = OVERLAP_M
    overlap = ((echo_m - start) / (end - start)).clip(0, 1)
    shape = np.sin(np.pi * time_s / (2 * HALF_PULSE_S)) ** 2
    safe_m = np.maximum(echo_m, start)
    values = shape * np.exp(-2 * alpha * safe_m) / safe_m**2 * overlap
    integral = values.sum(axis=1) * (time_s[1] - time_s[0])
    strongest = np.maximum.accumulate(integral)
    place = np.maximum.accumulate(np.where(integral >= strongest, np.arange(len(integral)), 0))
    return target_m, target_m[place], strongest


def snow(
    points: Cloud, rng: np.random.Generator, *, rate_mm_h: float, velocity_m_s: float, floor: float
) -> Kept:
    """Simulate falling snow (after Hahner et al., CVPR 2022).

    Flakes attenuate the pulse, and the strongest flake in a beam becomes the point where its echo
    is stronger than the target's. What is too weak for the sensor is lost.

    Args:
        points: The cloud.
        rng: Draws the strongest flake of each beam.
        rate_mm_h: Snowfall as water [mm/h].
        velocity_m_s: Fall velocity of the flakes; slower flakes are denser in the air.
        floor: Weakest detected signal, relative to the weakest of the clear cloud.
    """
    distance = np.maximum(range_m(points), OVERLAP_M[0])
    per_m3, slope = snow_in_air(rate_mm_h, velocity_m_s)
    extinction = per_m3 * np.pi / (2 * slope**2)  # Mean cross-section of a flake: π / (2 slope²).
    clear = np.maximum(points[:, 3], LOWEST_INTENSITY)
    solid = clear * np.exp(-2 * extinction * distance)
    flake_m, signal = _strongest_flakes(rng, len(points), per_m3, slope)
    signal = signal * np.exp(-2 * extinction * flake_m)
    is_flake = (flake_m < distance) & (signal > solid / distance**2)
    snowy = points.copy()
    snowy[:, :3] *= np.where(is_flake, flake_m / distance, 1)[:, None]
    snowy[:, 3] = np.where(is_flake, signal * flake_m**2, solid).clip(0, 1)
    strongest = np.where(is_flake, signal, solid / distance**2)
    return snowy[strongest >= floor * weakest_signal(points)]


def _strongest_flakes(
    rng: np.random.Generator, beams: int, per_m3: float, slope: float
) -> tuple[Float[np.ndarray, "beams"], Float[np.ndarray, "beams"]]:
    """Draw the flake with the strongest echo of each beam.

    A flake of diameter D at range r in a beam of width w(r) has the signal p = ρ D² / (w² s²),
    where s is r, or the focus if that is farther. The number of flakes above p is Poisson with the
    mean ∫ n π w²/4 exp(−slope · w s √(p/ρ)) dr, so the largest p is drawn by inversion, and then
    its range.

    Returns:
        Ranges [m], and signals as intensity / range² [1/m²].
    """
    step_m = 0.25
    flake_m = np.arange(OVERLAP_M[1], 60.0, step_m)
    width_m = APERTURE_M + DIVERGENCE_RAD * flake_m
    loss_m = np.maximum(flake_m, FOCUS_M)
    root = np.geomspace(1e-6, 1.0, 240)[:, None]  # √(p/ρ)
    rate = per_m3 * np.pi / 4 * width_m**2 * np.exp(-slope * width_m * loss_m * root)
    mean = rate.sum(axis=1) * step_m
    drawn = rng.standard_exponential(beams)
    row = np.searchsorted(-mean, -drawn).clip(0, len(root) - 1)
    # Of flakes with just this signal, the derivative of the mean tells the ranges.
    cumulative = np.cumsum(rate * width_m * loss_m, axis=1)
    share = cumulative / cumulative[:, -1:]
    place = np.searchsorted(
        (share + np.arange(len(root))[:, None]).ravel(), row + rng.random(beams)
    )
    chosen_m = flake_m[(place - row * len(flake_m)).clip(0, len(flake_m) - 1)]
    chosen_m = chosen_m + step_m * rng.random(beams)
    # No flake covers more than the beam.
    most = FLAKE_REFLECTANCE / np.maximum(chosen_m, FOCUS_M) ** 2
    return chosen_m, np.minimum(FLAKE_REFLECTANCE * root[row, 0] ** 2, most)


def snow_in_air(rate_mm_h: float, velocity_m_s: float) -> tuple[float, float]:
    """Return the number of flakes per m³, and the slope of their exponential diameters [1/m].

    The slope of the melted diameters is that of Gunn and Marshall (1958). The number follows from
    the conservation of mass, and fluffy flakes are wider than melted ones.
    """
    water_share = rate_mm_h / (3.6e6 * velocity_m_s)
    melted = 2550.0 * rate_mm_h**-0.48
    return water_share * melted**3 / np.pi, melted * SNOW_DENSITY ** (1 / 3)


def wet_ground(points: Cloud, rng: np.random.Generator, *, water_mm: float, floor: float) -> Kept:
    """Wet the ground: water reflects the pulse away, and the ground below looks darker.

    Args:
        points: The cloud.
        rng: Not used; wet ground is the same every time.
        water_mm: Depth of the water; from ``PAVEMENT_DEPTH_MM`` on the ground is fully covered.
        floor: Weakest detected signal, relative to the weakest of the clear cloud.
    """
    del rng
    distance = np.maximum(range_m(points), OVERLAP_M[0])
    wet = wet_share(np.abs(points[:, 2]) / distance, points[:, 3])
    cover = min(1.0, water_mm / PAVEMENT_DEPTH_MM)
    factor = np.where(is_ground(points), 1 - cover + cover * wet, 1)
    wetted = points.copy()
    wetted[:, 3] *= factor
    signal = np.maximum(points[:, 3], LOWEST_INTENSITY) * factor / distance**2
    is_seen = signal >= floor * weakest_signal(points)
    return wetted[is_seen | (factor == 1)]


def wet_share(
    cosine: Float[np.ndarray, "P"], reflectance: Float[np.ndarray, "P"]
) -> Float[np.ndarray, "P"]:
    """Return the intensity of a diffuse ground under water, relative to the dry ground.

    The pulse crosses the surface twice (Fresnel), spreads by the square of the index as it leaves,
    and is reflected many times between ground and surface (Lekner and Dorf, 1988).

    Args:
        cosine: Cosine of the angle of incidence.
        reflectance: Diffuse reflectance of the ground, 0–1.
    """
    inside = np.sqrt(1 - (1 - cosine**2) / WATER_INDEX**2)
    across = (cosine - WATER_INDEX * inside) / (cosine + WATER_INDEX * inside)
    along = (WATER_INDEX * cosine - inside) / (WATER_INDEX * cosine + inside)
    passed = 1 - (across**2 + along**2) / 2
    return passed**2 / (WATER_INDEX**2 * (1 - _INNER_REFLECTANCE * reflectance.clip(0, 1)))


def is_ground(points: Cloud) -> Bool[np.ndarray, "P"]:
    """Return which points are at most 0.25 m above the lowest of their 2 m × 2 m cell."""
    if not len(points):
        return np.zeros(0, bool)
    cells = np.floor(points[:, :2] / _CELL_M).astype(np.int64)
    cells -= cells.min(axis=0)
    _, cell = np.unique(cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1], return_inverse=True)
    lowest = np.full(cell.max() + 1, np.inf, np.float32)
    np.minimum.at(lowest, cell, points[:, 2])
    return points[:, 2] < lowest[cell] + _GROUND_M


def range_m(points: Cloud) -> Float32[np.ndarray, "P"]:
    """Return the distance of each point from the LiDAR [m]."""
    return np.linalg.norm(points[:, :3], axis=1)


def weakest_signal(points: Cloud) -> float:
    """Return the signal that the LiDAR just detects, as intensity / range² [1/m²].

    It is the first percentile of the clear cloud: the cloud itself shows what the sensor can see.
    """
    if not len(points):
        return 0.0
    intensity = np.maximum(points[:, 3], LOWEST_INTENSITY)
    return float(np.quantile(intensity / np.maximum(range_m(points), OVERLAP_M[0]) ** 2, 0.01))
