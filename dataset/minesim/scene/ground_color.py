"""Color and material of the ground: dust, wheel tracks, wet patches, strata, ore, snow."""

import numpy as np
from jaxtyping import Float, UInt8

from dataset.minesim.scene.locations import Location
from dataset.minesim.scene.materials import linear_rgb, material_index
from dataset.minesim.scene.terrain import Survey, Terrain

_SNOW = np.array(linear_rgb(236, 240, 246), dtype=np.float32)
_SLUSH = np.array(linear_rgb(176, 180, 184), dtype=np.float32)


def paint_ground(
    terrain: Terrain,
    region: Location,
    center: Float[np.ndarray, "X D 3"],
    cells: Survey,
    slope: Float[np.ndarray, "X D"],
    *,
    offset_m: Float[np.ndarray, "D"],
    spacing_m: Float[np.ndarray, "X D"],
    snow: bool,
) -> tuple[UInt8[np.ndarray, "X D"], Float[np.ndarray, "X D 3"]]:
    """Return the material and linear albedo of ground cells.

    Args:
        terrain: Source of the noise and the road.
        region: Source of the colors.
        center: Cell centers [m].
        cells: Survey of the ground at the cells.
        slope: Rise over run.
        offset_m: Lateral offset of the rows [m].
        spacing_m: Size of the cells [m].
        snow: Whether the ground is snow-covered.
    """
    x, y, z = np.moveaxis(center.astype(np.float32), -1, 0)
    noise = terrain.noise
    patch = noise.fractal(x + 211.0, y, 38.0, 4, gain=0.6)
    grain = noise.fractal(x, y - 131.0, 3.0, 2, spacing_m=spacing_m)
    on_road = np.clip(1.0 - (cells.out_m + 1.5 + 2.0 * patch) / 4.0, 0.0, 1.0)
    color = _mix(_rgb(region.soil), _rgb(region.road), on_road)
    steep = np.clip((slope - 0.45) / 0.4, 0.0, 1.0)
    strata = 0.10 * np.sin(z * 1.9 + 3.0 * patch) + 0.06 * np.sin(z * 5.3 + 2.0 * grain)
    color = _mix(color, _rgb(region.rock) * (1.0 + strata[..., None]), steep)
    # Dust on the road forms long streaks along it, darkened where wheels compact it.
    streak = noise.fractal(x / 9.0, np.broadcast_to(offset_m, x.shape) + 40.0, 2.4, 3, gain=0.6)
    wear = terrain.road.track_wear(offset_m)[None, :] * (0.6 + 0.5 * patch)
    road_shade = 1.0 - on_road * (0.13 * wear + 0.20 * streak)
    rake = noise.fractal(x + 0.7 * z, 0.25 * z, 1.8, 2, spacing_m=spacing_m)
    mottle = 1.0 + 0.22 * patch + 0.12 * grain + 0.08 * steep * rake
    color = color * (road_shade * mottle)[..., None]
    ore = np.clip(5.0 * (patch - 0.14), 0.0, 1.0) * np.clip((cells.out_m - 18.0) / 10.0, 0.0, 1.0)
    color = _mix(color, _rgb(region.dark) * (1.0 + 0.3 * grain)[..., None], 0.9 * ore)
    ruts = np.clip(np.abs(cells.rut_m) / 0.10, 0.0, 1.0)
    damp = np.maximum(0.75 * cells.wet, 0.45 * ruts * (0.6 + 0.8 * patch))
    color = _mix(color, 0.32 * _rgb(region.soil), np.clip(damp, 0.0, 1.0))
    material = np.full(x.shape, material_index("soil"), dtype=np.uint8)
    material[on_road > 0.5] = material_index("road")
    material[(steep > 0.4) | (cells.rubble > 0.45)] = material_index("rock")
    material[cells.wet > 0.6] = material_index("mud")
    if snow:
        lying = np.clip(1.25 - 0.75 * slope + 0.5 * grain, 0.0, 1.0) * (1.0 - cells.wet)
        lying = lying * (1.0 - 0.75 * ruts)
        fresh = _mix(_SNOW, _SLUSH * road_shade[..., None], on_road * (0.35 + 0.65 * wear))
        color = _mix(color, fresh, lying)
        material[lying > 0.5] = material_index("snow")
    return material, np.clip(color, 0.01, 0.95).astype(np.float32)


def _rgb(color: tuple[float, float, float]) -> Float[np.ndarray, "3"]:
    return np.array(color, dtype=np.float32)


def _mix(
    first: Float[np.ndarray, "*#any 3"],
    second: Float[np.ndarray, "*#any 3"],
    share: Float[np.ndarray, "X D"],
) -> Float[np.ndarray, "X D 3"]:
    """Blend from ``first`` (share 0) to ``second`` (share 1)."""
    weight = np.asarray(share, dtype=np.float32)[..., None]
    return first * (1.0 - weight) + second * weight
