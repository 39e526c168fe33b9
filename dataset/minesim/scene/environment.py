"""Light and weather of a scene."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.dust import Puffs

Sky = Literal["clear", "hazy", "overcast", "dusk", "low_sun", "night"]
SKIES: tuple[Sky, ...] = ("clear", "hazy", "overcast", "dusk")
"""Skies that scenes draw; the others belong to a condition."""

Condition = Literal["standard", "wet", "dust", "low_sun", "night", "lens_dirt"]
CONDITIONS: tuple[Condition, ...] = ("standard", "wet", "dust", "low_sun", "night", "lens_dirt")
"""Conditions of a scene; "standard" is a scene as drawn without any."""


@dataclass(frozen=True)
class Environment:
    """Light and weather of a scene.

    Attributes:
        sun_direction: Unit vector from the ground to the sun, world frame.
        sky: Kind of sky.
        haze_m: Visual range: the distance at which contrast falls to 2 % [m].
        dust: Airborne dust near the ground, from 0 (none) to 1 (thick).
        snow: Whether the ground is snow-covered; face colors and materials already reflect it.
        condition: The condition of the scene, which the other fields already reflect.
        plumes: Dust plumes; None if there are none.
        lens_seed: Seed of the dirt on the camera's lens; None if it is clean.
    """

    sun_direction: Float[np.ndarray, "3"]
    sky: Sky
    haze_m: float
    dust: float
    snow: bool
    condition: Condition = "standard"
    plumes: Puffs | None = None
    lens_seed: int | None = None


def draw_environment(
    rng: np.random.Generator, snow_share: float, sky: Sky | None, snow: bool | None
) -> Environment:
    """Draw random light and weather, except for what is given.

    Args:
        rng: Random generator.
        snow_share: Probability of snow.
        sky: Kind of sky; drawn if None.
        snow: Whether there is snow; drawn if None.
    """
    drawn_sky = SKIES[int(rng.choice(len(SKIES), p=_SKY_SHARES))]
    drawn_snow = bool(rng.random() < snow_share)
    low, high = _SUN_DEG[sky or drawn_sky]
    elevation = np.radians(rng.uniform(low, high))
    azimuth = rng.uniform(0, 2 * np.pi)
    sun = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    near, far = _RANGE_M[sky or drawn_sky]
    haze = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    dust = float(rng.uniform(0.2, 0.9)) if rng.random() < 0.2 else 0.0
    is_snowy = drawn_snow if snow is None else snow
    return Environment(sun, sky or drawn_sky, haze, 0.0 if is_snowy else dust, is_snowy)


_SKY_SHARES = (0.62, 0.14, 0.14, 0.10)
_SUN_DEG: dict[Sky, tuple[float, float]] = {
    "clear": (14.0, 62.0),
    "hazy": (15.0, 50.0),
    "overcast": (30.0, 60.0),
    "dusk": (1.5, 6.0),
    "low_sun": (4.0, 9.0),
    "night": (30.0, 60.0),  # The moon; its light is part of the sky's.
}
_RANGE_M: dict[Sky, tuple[float, float]] = {
    "clear": (6000.0, 20000.0),
    "hazy": (500.0, 1800.0),
    "overcast": (1500.0, 5000.0),
    "dusk": (2000.0, 8000.0),
    "low_sun": (2500.0, 9000.0),
    "night": (2000.0, 8000.0),
}
