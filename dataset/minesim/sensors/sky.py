"""Lighting: sky colors, sunlight and skylight on the ground, and haze.

Colors are linear RGB in display units, where 1 is white. They are fitted to the recorded images,
including their white balance: a cyan horizon, deep blue above, bluish shade.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from dataset.minesim.scene.environment import Environment, Sky
from dataset.minesim.scene.materials import Color, linear_rgb
from dataset.minesim.sensors.texture import clouds

_CONTRAST_THRESHOLD = 3.912
"""−log of the 2 % contrast that defines visual range."""


@dataclass(frozen=True)
class _Look:
    """Appearance of a kind of sky.

    Attributes:
        elevation_deg: Elevations of the gradient's colors.
        gradient: Colors from the horizon up.
        sun: Irradiance of the sun on level ground.
        ambient: Irradiance of the sky on level ground.
        glow: Strength of the glow around the sun.
        clouds: How much clouds vary the brightness.
        haze: Color that distant objects fade to.
        disc: Strength of the sun's disc; 0 if it is never in the image or hidden.
    """

    elevation_deg: tuple[float, ...]
    gradient: tuple[Color, ...]
    sun: Color
    ambient: Color
    glow: float
    clouds: float
    haze: Color
    disc: float = 0.0


_LOOKS: dict[Sky, _Look] = {
    "clear": _Look(
        elevation_deg=(0.0, 2.0, 4.5, 8.0, 14.6, 30.0, 90.0),
        gradient=(
            linear_rgb(188, 240, 240),
            linear_rgb(168, 243, 250),
            linear_rgb(142, 230, 251),
            linear_rgb(116, 204, 252),
            linear_rgb(82, 158, 244),
            linear_rgb(58, 118, 212),
            linear_rgb(38, 84, 165),
        ),
        sun=(0.67, 0.83, 0.68),
        ambient=(0.072, 0.155, 0.225),
        glow=0.35,
        clouds=0.0,
        haze=linear_rgb(196, 235, 226),
    ),
    "hazy": _Look(
        elevation_deg=(0.0, 4.0, 10.0, 25.0, 90.0),
        gradient=(
            linear_rgb(212, 220, 214),
            linear_rgb(205, 222, 226),
            linear_rgb(180, 208, 228),
            linear_rgb(140, 180, 214),
            linear_rgb(110, 150, 190),
        ),
        sun=(0.50, 0.54, 0.43),
        ambient=(0.24, 0.30, 0.33),
        glow=0.6,
        clouds=0.04,
        haze=linear_rgb(206, 214, 208),
    ),
    "overcast": _Look(
        elevation_deg=(0.0, 5.0, 20.0, 90.0),
        gradient=(
            linear_rgb(214, 226, 228),
            linear_rgb(204, 218, 222),
            linear_rgb(184, 200, 208),
            linear_rgb(166, 182, 194),
        ),
        sun=(0.0, 0.0, 0.0),
        ambient=(0.72, 0.82, 0.84),
        glow=0.0,
        clouds=0.10,
        haze=linear_rgb(192, 200, 204),
    ),
    "dusk": _Look(
        elevation_deg=(0.0, 2.0, 6.0, 15.0, 90.0),
        gradient=(
            linear_rgb(92, 112, 142),
            linear_rgb(66, 92, 132),
            linear_rgb(42, 66, 110),
            linear_rgb(24, 42, 80),
            linear_rgb(12, 22, 48),
        ),
        sun=(0.0, 0.0, 0.0),
        ambient=(0.035, 0.055, 0.095),
        glow=0.25,
        clouds=0.35,
        haze=linear_rgb(62, 80, 108),
    ),
    "low_sun": _Look(
        elevation_deg=(0.0, 3.0, 8.0, 18.0, 40.0, 90.0),
        gradient=(
            linear_rgb(246, 214, 168),
            linear_rgb(240, 216, 184),
            linear_rgb(214, 214, 208),
            linear_rgb(160, 190, 220),
            linear_rgb(98, 142, 204),
            linear_rgb(54, 92, 156),
        ),
        sun=(0.56, 0.42, 0.24),
        ambient=(0.120, 0.150, 0.190),
        glow=0.3,
        clouds=0.0,
        haze=linear_rgb(238, 208, 164),
        disc=6.0,
    ),
    "night": _Look(
        elevation_deg=(0.0, 3.0, 10.0, 90.0),
        gradient=(
            linear_rgb(30, 34, 44),
            linear_rgb(22, 27, 38),
            linear_rgb(14, 19, 30),
            linear_rgb(7, 10, 18),
        ),
        sun=(0.0, 0.0, 0.0),
        ambient=(0.0050, 0.0065, 0.0095),
        glow=0.0,
        clouds=0.3,
        haze=linear_rgb(24, 28, 38),
    ),
}

_DUST_ALBEDO = np.array([0.62, 0.55, 0.44], dtype=np.float32)
_LOOKUP_SIZE = 1024
_DISC_SHARPNESS = 9000.0
"""The disc fades within about one degree, as the camera overexposes it."""


@dataclass(frozen=True)
class Light:
    """The lighting of a scene.

    Attributes:
        sun_direction: Unit vector to the sun.
        sun: Irradiance of the sun on a surface that faces it; black under clouds and at dusk.
        ambient: Irradiance of the whole sky on level ground.
        haze: Color that distant objects fade to.
        haze_per_m: Extinction coefficient of the haze [1/m].
        dust: Airborne dust near the ground, from 0 (none) to 1 (thick).
        glow: Strength of the glow around the sun.
        clouds: How much clouds vary the brightness of the sky.
        disc: Strength of the sun's disc, which also glares in the lens; 0 for none.
        is_dusk: Whether lamps are on.
        is_night: Whether lamps are the only light to speak of.
    """

    sun_direction: Float32[np.ndarray, "3"]
    sun: Float32[np.ndarray, "3"]
    ambient: Float32[np.ndarray, "3"]
    haze: Float32[np.ndarray, "3"]
    haze_per_m: float
    dust: float
    glow: float
    clouds: float
    disc: float
    is_dusk: bool
    is_night: bool
    _gradient: Float32[np.ndarray, "E 3"]

    def sky(self, directions: Float32[np.ndarray, "M 3"]) -> Float32[np.ndarray, "M 3"]:
        """Return the sky color in unit directions; below the horizon, the color of the horizon."""
        height = np.clip(directions[:, 2], 0.0, 1.0)
        # The square root concentrates table entries near the horizon, where colors change.
        entry = np.sqrt(height) * (_LOOKUP_SIZE - 1)
        color = self._gradient[entry.astype(np.int32)]
        toward_sun = directions @ self.sun_direction
        brightness = 0.96 + 0.14 * toward_sun * toward_sun
        if self.clouds > 0:
            distance = 1.0 / (height + 0.06)
            cover = clouds().sample(directions[:, 0] * distance, directions[:, 1] * distance)
            brightness = brightness * (1.0 + self.clouds * np.clip(cover, -1.5, 2.0))
        color = color * brightness[:, None]
        if self.glow > 0:
            away = 1.0 - toward_sun
            halo = self.glow * (0.35 * np.exp(-6.0 * away) + np.exp(-60.0 * away))
            color += halo[:, None] * (0.8 * self.haze + 0.1)
        if self.disc > 0:
            disc = self.disc * np.exp(_DISC_SHARPNESS * (toward_sun - 1.0))
            color += disc[:, None] * np.array([1.0, 0.9, 0.7], np.float32)
        return color

    def dust_color(self, directions: Float32[np.ndarray, "M 3"]) -> Float32[np.ndarray, "M 3"]:
        """Return the color of thick airborne dust in unit directions: brighter toward the sun."""
        level = self.ambient + self.sun * max(float(self.sun_direction[2]), 0.25)
        forward = np.maximum(directions @ self.sun_direction, 0.0) ** 6
        return (0.85 + 0.5 * forward)[:, None] * (level * _DUST_ALBEDO)


def make_light(environment: Environment) -> Light:
    """Build the lighting of an environment."""
    look = _LOOKS[environment.sky]
    direction = np.asarray(environment.sun_direction, dtype=np.float32)
    direction = direction / np.linalg.norm(direction)
    # The camera exposes for the ground: the sun's elevation changes contrast, not brightness.
    exposure = 0.68 if environment.snow and environment.sky not in {"dusk", "night"} else 1.0
    sun = np.array(look.sun, np.float32) / max(float(direction[2]), 0.25)
    ambient = np.array(look.ambient, np.float32)
    return Light(
        sun_direction=direction,
        sun=(exposure * sun).astype(np.float32),
        ambient=(exposure * ambient).astype(np.float32),
        haze=np.array(look.haze, np.float32),
        haze_per_m=_CONTRAST_THRESHOLD / environment.haze_m,
        dust=environment.dust,
        glow=look.glow,
        clouds=look.clouds,
        disc=look.disc,
        is_dusk=environment.sky in {"dusk", "night"},
        is_night=environment.sky == "night",
        _gradient=_gradient_table(look),
    )


def _gradient_table(look: _Look) -> Float32[np.ndarray, "E 3"]:
    """Tabulate the gradient's color by the square root of the direction's height."""
    height = np.linspace(0.0, 1.0, _LOOKUP_SIZE) ** 2
    elevation = np.rad2deg(np.arcsin(height))
    colors: Float[np.ndarray, "G 3"] = np.array(look.gradient)
    channels = [np.interp(elevation, look.elevation_deg, colors[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)
