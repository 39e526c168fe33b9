"""Surface materials of the mine: one table for both camera and LiDAR shading."""

from dataclasses import dataclass
from typing import Literal

Color = tuple[float, float, float]
Texture = Literal["none", "ground", "rock", "mud", "water", "snow", "metal"]


@dataclass(frozen=True)
class Material:
    """How a surface reflects light; its color is stored per face, not here.

    Attributes:
        name: Name used by the mesh builders.
        texture: Pattern that the renderer multiplies onto the albedo.
        contrast: Strength of that pattern: 0 is none, 1 ranges from black to twice the albedo.
        gloss: Share of specular reflection, from 0 (matte) to 1 (mirror).
        lidar_reflectance: Diffuse reflectance at the LiDAR's 905 nm, 0–1; signs are higher than
            white paint because they are retroreflective.
        emission: Emitted light as a share of the albedo, so that lamps are visible at dusk.
    """

    name: str
    texture: Texture
    contrast: float
    gloss: float
    lidar_reflectance: float
    emission: float = 0.0


MATERIALS: tuple[Material, ...] = (
    Material("soil", "ground", 0.35, 0.0, 0.32),
    Material("road", "ground", 0.18, 0.02, 0.28),
    Material("rock", "rock", 0.45, 0.0, 0.38),
    Material("mud", "mud", 0.30, 0.15, 0.12),
    Material("water", "water", 0.05, 0.85, 0.03),
    Material("snow", "snow", 0.08, 0.05, 0.75),
    Material("paint", "metal", 0.10, 0.15, 0.55),
    Material("steel", "metal", 0.25, 0.20, 0.30),
    Material("rubber", "none", 0.15, 0.0, 0.06),
    Material("glass", "none", 0.0, 0.60, 0.05),
    Material("cloth", "none", 0.10, 0.0, 0.45),
    Material("sign", "none", 0.0, 0.10, 0.95),
    Material("concrete", "ground", 0.15, 0.0, 0.40),
    Material("plant", "ground", 0.40, 0.0, 0.50),
    Material("lamp", "none", 0.0, 0.30, 0.40, emission=1.0),
)
"""All materials; faces store an index into this tuple."""

_INDEX = {material.name: index for index, material in enumerate(MATERIALS)}


def material_index(name: str) -> int:
    """Return the index of a material in ``MATERIALS``.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in _INDEX:
        raise ValueError(f"unknown material '{name}'; known: {tuple(_INDEX)}")
    return _INDEX[name]


def linear_rgb(red: int, green: int, blue: int) -> Color:
    """Convert an sRGB color, 0–255 per channel, to linear albedo."""
    r, g, b = (
        (value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
        for value in (red, green, blue)
    )
    return r, g, b
